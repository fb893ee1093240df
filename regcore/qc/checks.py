"""Checks of a finished study: what was found, what was expected, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from regcore.qc.outliers import member_keys

Verdict = Literal["pass", "look", "fail", "none"]
FEWEST = 6
"""Members below which a correlation over them is not judged."""


@dataclass(frozen=True)
class Check:
    """One line of the summary.

    Parameters
    ----------
    name : str
        What was checked.
    verdict : {"pass", "look", "fail", "none"}
        ``look`` asks for a person's eye, ``none`` says that there was nothing to check.
    found, expected : str
        With units.
    meaning : str
        What the verdict means for the study, one sentence.
    """

    name: str
    verdict: Verdict
    found: str
    expected: str
    meaning: str


def first_column(frame: pd.DataFrame | None, *names: str) -> str | None:
    """First of `names` that is a column of `frame`.

    Examples
    --------
    >>> first_column(pd.DataFrame({"b": [1]}), "a", "b")
    'b'
    """
    return next((name for name in names if frame is not None and name in frame), None)


def check_quarantine(quarantine: pd.DataFrame | None, members: int) -> Check:
    """Whether every image could be used."""
    count = 0 if quarantine is None else len(quarantine)
    return Check(
        "Images used",
        "pass" if count == 0 else "look",
        f"{count} set aside" if count else f"all {members} used" if members else "none set aside",
        "none set aside",
        "Every image of the cohort took part." if count == 0 else "Read the reasons under Quarantine: "
        "the results leave these images out.",
    )  # fmt: skip


def check_convergence(convergence: pd.DataFrame | None, threshold_mm: float | None) -> Check:
    """Whether the last shape update is below the stop threshold."""
    name = "Template converged"
    if convergence is None or convergence.empty or "rms_shape_update_mm" not in convergence:
        return Check(name, "none", "no template built", "-", "Nothing to judge.")
    found = float(convergence["rms_shape_update_mm"].iloc[-1])
    text = f"last shape update {found:.3g} mm RMS"
    if threshold_mm is None:
        return Check(name, "look", text, "no threshold set", "Judge from the convergence plot.")
    reached = found <= threshold_mm
    return Check(
        name,
        "pass" if reached else "look",
        text,
        f"at most {threshold_mm:g} mm",
        "More iterations would hardly move the template." if reached else
        "The template still moved in its last iteration: allow more iterations.",
    )  # fmt: skip


def check_certificate(certificate: Mapping[str, object] | None, limit_mm: float = 0.1) -> Check:
    """Whether the mean of all transforms is the identity, so that the template leans to no member.

    Parameters
    ----------
    certificate : mapping, optional
        Numbers whose key holds ``rms`` and ends in ``_mm`` are judged against `limit_mm` (or the
        certificate's own ``threshold_mm``); a boolean ``unbiased`` in it decides instead where it is there.
    limit_mm : float

    Examples
    --------
    >>> check_certificate({"mean_velocity_rms_mm": 0.02, "mean_log_affine_rms_mm": 0.3}).verdict
    'fail'
    """
    name = "Template unbiased"
    if not certificate:
        return Check(name, "none", "no certificate", "-", "Nothing to judge.")
    if "frozen" in certificate:
        return Check(name, "none", "frozen template", "-", "The template is not made of these members.")
    own = certificate.get("threshold_mm")
    limit = float(own) if isinstance(own, int | float) else limit_mm
    judged = {
        key: abs(float(value))
        for key, value in certificate.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and "rms" in key
        and key.endswith("_mm")
    }
    said = certificate.get("unbiased", certificate.get("passed"))
    passed = said if isinstance(said, bool) else bool(judged) and max(judged.values()) <= limit
    words = [f"{key.removesuffix('_mm').replace('_', ' ')} {value:.3g} mm" for key, value in judged.items()]
    return Check(
        name,
        "pass" if passed else "fail",
        "; ".join(words) or ("passed" if passed else "not shown"),
        f"each at most {limit:g} mm",
        "The average transform is the identity: the template leans to no member." if passed
        else "The average transform is not the identity: sizes relative to this template are biased.",
    )  # fmt: skip


def check_registrations(registrations: pd.DataFrame | None, limit_vox: float = 0.1) -> list[Check]:
    """Whether the maps are invertible and plausible: no folding, forward after inverse near the identity."""
    checks = []
    folded = first_column(registrations, "folded_voxels")
    if registrations is not None and folded is not None:
        values = pd.to_numeric(registrations[folded], errors="coerce").fillna(0)
        bad = int((values > 0).sum())
        checks.append(
            Check(
                "No folding",
                "pass" if bad == 0 else "fail",
                "no folded voxel" if bad == 0 else f"{bad} of {len(values)} registrations fold",
                "no voxel with a Jacobian at or below zero",
                "Every map keeps the anatomy in one piece."
                if bad == 0
                else "Jacobians near the folds mean nothing: see the registrations with folded voxels.",
            )
        )
    column = first_column(registrations, "inverse_consistency_mean_vox")
    if registrations is not None and column is not None:
        values = pd.to_numeric(registrations[column], errors="coerce")
        worst = float(values.max())
        passed = worst <= limit_vox
        checks.append(
            Check(
                "Inverse consistent",
                "pass" if passed else "look",
                f"worst mean {worst:.3g} voxel",
                f"mean at most {limit_vox:g} voxel",
                "Going there and back returns to the same place."
                if passed
                else "Results carried there and back would shift: see the registrations.",
            )
        )
    column = first_column(registrations, "linear_retries")
    if registrations is not None and column is not None:
        values = pd.to_numeric(registrations[column], errors="coerce").dropna()
        bad = int((values > 0).sum())
        checks.append(
            Check(
                "Plausible affines",
                "pass" if bad == 0 else "look",
                "none tried again" if bad == 0 else f"{bad} of {len(values)} registrations tried again",
                "no linear answer beyond the limits of scale and shear",
                "No image was squeezed or sheared out of shape to fit."
                if bad == 0
                else "A simpler linear map was taken there: look at these pairs first.",
            )
        )
    return checks


def check_weights(qc: pd.DataFrame | None) -> Check:
    """Whether every member weighs in full in the template.

    Examples
    --------
    >>> check_weights(pd.DataFrame({"participant_id": ["sub-1", "sub-2"], "weight": [1.0, 0.2]})).found
    '1 of 2 weigh less: sub-2 (0.2)'
    """
    name = "All weigh alike"
    if qc is None or qc.empty:
        return Check(name, "none", "no template built", "-", "Nothing to judge.")
    weights = zip(member_keys(qc), qc["weight"], strict=True)
    light = [f"{key} ({weight:.2g})" for key, weight in weights if weight < 1]
    return Check(
        name,
        "look" if light else "pass",
        f"{len(light)} of {len(qc)} weigh less: " + ", ".join(light[:4]) + (" ..." if len(light) > 4 else "")
        if light else f"all {len(qc)} weigh 1",
        "every weight 1",
        "The template is the mean of these weights: read the reasons under Registrations and decide." if light
        else "Every member counts the same in the template.",
    )  # fmt: skip


def check_outliers(outliers: pd.DataFrame | None, members: int) -> Check:
    """Whether anything stands far from the rest of its stage.

    Parameters
    ----------
    outliers : DataFrame, optional
        `member` and `stage` of everything that does.
    members : int
        Of the cohort; 0 if not known.

    Examples
    --------
    >>> table = pd.DataFrame({"member": ["sub-1", "sub-2_ses-1"], "stage": ["population", "sessions"]})
    >>> check_outliers(table, 8).found
    'population: 1 of 8 (sub-1); sessions: 1 (sub-2_ses-1)'
    """
    found = []
    if outliers is not None and not outliers.empty:
        for stage, rows in outliers.groupby("stage", sort=False):
            flagged = sorted(set(rows["member"]))
            # of the other stages the members of the cohort are not the number of all
            of_all = f" of {members}" if members and stage in ("population", "structures") else ""
            shown = ", ".join(flagged[:4]) + (" ..." if len(flagged) > 4 else "")
            found.append(f"{stage}: {len(flagged)}{of_all} ({shown})")
    return Check(
        "No outliers",
        "look" if found else "pass",
        "; ".join(found) or "none",
        "none in any stage",
        "Look at these first; an outlier can be a failed registration or real anatomy." if found else
        "No registration and no member stands apart from the others.",
    )  # fmt: skip


def check_agreement(
    consistency: pd.DataFrame | None, least_correlation: float = 0.7, most_bias_percent: float = 10.0
) -> Check:
    """Whether volumes integrated from Jacobians agree with those of label maps.

    Parameters
    ----------
    consistency : DataFrame, optional
        As `morphometry.volume_agreement` makes it. Structures of fewer than `FEWEST` members say nothing.
    least_correlation : float
        Smallest median over the structures of a segmentation; 0.7 is half of the variance.
    most_bias_percent : float
        Largest median of the absolute bias.

    Examples
    --------
    >>> row = {"segmentation": "own", "members": 9, "correlation": 0.6, "bias_percent": -2.0}
    >>> check_agreement(pd.DataFrame([row])).found
    'own: correlation 0.60, bias 2.0 %'
    """
    name = "Jacobians agree with labels"
    if consistency is None or consistency.empty:
        return Check(name, "none", "no labels on the template", "-", "Nothing to judge.")
    known = consistency[(consistency["members"] >= FEWEST) & consistency["correlation"].notna()]
    if known.empty:
        return Check(name, "none", f"fewer than {FEWEST} members with labels", "-", "Nothing to judge.")
    medians = known.assign(bias=known["bias_percent"].abs()).groupby("segmentation", sort=False)
    table = medians[["correlation", "bias"]].median()
    passed = bool(
        (table["correlation"] >= least_correlation).all() and (table["bias"] <= most_bias_percent).all()
    )
    return Check(
        name,
        "pass" if passed else "look",
        "; ".join(
            f"{kind}: correlation {correlation:.2f}, bias {bias:.1f} %"
            for kind, correlation, bias in table.itertuples()
        ),
        f"medians over structures: correlation at least {least_correlation:g}, bias at most "
        f"{most_bias_percent:g} %",
        "The transforms change volumes as the labels do." if passed else
        "Jacobians say something else than labels: see Agreement before trusting either.",
    )  # fmt: skip
