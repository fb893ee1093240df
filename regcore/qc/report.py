"""The report of a study: one HTML page that opens offline and is judged in five minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jinja2
import numpy as np
import pandas as pd

from regcore.image import Image
from regcore.qc import checks, outliers
from regcore.qc.cohort_plots import influence_figure
from regcore.qc.figures import map_figure, template_figure
from regcore.qc.html import duration, flatten, number, picture, table
from regcore.qc.planes import Convention
from regcore.qc.plots import convergence_figure, runtime_figure, structure_figure
from regcore.qc.statistics import DesignShown, agreement_figure, agreement_summary, design_pictures

# side on which a registration's measure is bad; similarity is larger where the images agree better
REGISTRATION_SIDES = {
    "similarity_after": "low",
    "folded_voxels": "high",
    "minimum_jacobian": "low",
    "inverse_consistency_mean_vox": "high",
}
STRUCTURE = ("structure", "name", "label_name", "label", "index")


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything the report shows; what is left out is left out of the report.

    Parameters
    ----------
    title : str
    versions : mapping
        Name of a program or library to its version.
    settings : mapping
        Summary of the configuration: key to value, nested mappings allowed.
    cohort : DataFrame, optional
        A row a member: `participant_id`, optional `session_id`, covariates.
    quarantine : DataFrame, optional
        `participant_id`, `session_id`, `image`, `stage`, `reason`; a row an image set aside.
    templates : sequence of (str, Image)
        Label and template of every iteration, the published one last.
    template_mask : Image, optional
        On the grid of the last template.
    convergence : DataFrame, optional
        A row an iteration, as `groupwise.convergence` makes it.
    convergence_threshold_mm : float, optional
        Shape update at which the iterations stop.
    certificate : mapping, optional
        As `groupwise.convergence.bias_certificate` makes it.
    members : sequence of (str, bytes)
        Key and picture (`figures.member_figure`) of every member.
    variance : Image, optional
        Variance of the intensities over members, on the grid of the last template.
    volumes, jacobians, overlap, registrations : DataFrame, optional
        The tables of the study.
    validation : DataFrame, optional
        A row an atlas, fusion method and structure: how well the other atlases label it.
    fusion : str, optional
        Method among those in `validation` that labels the members.
    consistency : DataFrame, optional
        A row a structure: agreement of integrated Jacobians and label volumes.
    designs : sequence of DesignShown
        The statistics.
    runtime : DataFrame, optional
        A row a job: `rule`, `seconds`, optional `memory_mb`.
    outputs : DataFrame, optional
        `path`, `description`.
    strata : sequence of (str, Image)
        Name and template of every stratum.
    influence : DataFrame, optional
        A row a member: how much the template would change without it.
    asymmetry : DataFrame, optional
        A row a member and paired structure: how unlike its left and right are.
    convention : {"neurological", "radiological"}
        Of all pictures, `members` included.
    """

    title: str
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    cohort: pd.DataFrame | None = None
    quarantine: pd.DataFrame | None = None
    templates: Sequence[tuple[str, Image]] = ()
    template_mask: Image | None = None
    convergence: pd.DataFrame | None = None
    convergence_threshold_mm: float | None = None
    certificate: Mapping[str, object] | None = None
    members: Sequence[tuple[str, bytes]] = ()
    variance: Image | None = None
    volumes: pd.DataFrame | None = None
    jacobians: pd.DataFrame | None = None
    overlap: pd.DataFrame | None = None
    validation: pd.DataFrame | None = None
    fusion: str | None = None
    consistency: pd.DataFrame | None = None
    designs: Sequence[DesignShown] = ()
    registrations: pd.DataFrame | None = None
    runtime: pd.DataFrame | None = None
    outputs: pd.DataFrame | None = None
    strata: Sequence[tuple[str, Image]] = ()
    influence: pd.DataFrame | None = None
    asymmetry: pd.DataFrame | None = None
    convention: Convention = "neurological"


def build_report(data: ReportData) -> str:
    """Whole report as one HTML page without scripts and without anything to fetch.

    Parameters
    ----------
    data : ReportData

    Returns
    -------
    str
        HTML; every text of `data` is escaped, every picture embedded.

    Examples
    --------
    >>> page = build_report(ReportData(title="Study <1>"))
    >>> "Study &lt;1&gt;" in page
    True
    """
    flagged = find_outliers(data)
    count = len(data.members) or (0 if data.cohort is None else len(data.cohort))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regcore", "qc"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.globals["picture"] = picture
    environment.globals["table"] = table
    verdicts = [
        checks.check_certificate(data.certificate),
        checks.check_convergence(data.convergence, data.convergence_threshold_mm),
        *checks.check_registrations(data.registrations),
        checks.check_outliers(flagged, count),
        checks.check_quarantine(data.quarantine, count),
    ]
    suspects = set(flagged["member"])
    members = sorted(data.members, key=lambda member: (member[0] not in suspects, member[0]))
    return environment.get_template("report.html.j2").render(
        data=data,
        checks=verdicts,
        headline=headline(verdicts),
        facts=facts(data),
        members=members,
        suspects=suspects,
        outliers=flagged,
        templates=template_pictures(data),
        strata=stratum_pictures(data),
        figures=plots_of(data),
        runtime=runtime_summary(data.runtime),
        accuracy=accuracy_summary(data.validation),
        agreement=[] if data.consistency is None else agreement_summary(data.consistency),
        designs=[
            (
                design,
                design_pictures(
                    design,
                    data.templates[-1][1] if data.templates else None,
                    data.template_mask,
                    data.convention,
                ),
            )
            for design in data.designs
        ],
        settings=flatten(data.settings),
    )


def headline(verdicts: Sequence[checks.Check]) -> tuple[str, str]:
    """Worst verdict and the sentence that says it."""
    found = [check.verdict for check in verdicts]
    if "fail" in found:
        return "fail", "Not ready to use: at least one check failed."
    if "look" in found:
        return "look", "Usable after a look: some points below need a person's eye."
    return "pass", "All checks passed."


def facts(data: ReportData) -> list[tuple[str, str]]:
    """Few numbers at the top of the page."""
    rows = []
    if data.members or data.cohort is not None:
        rows.append(
            ("members", str(len(data.members) or len(data.cohort if data.cohort is not None else ())))
        )
    if data.convergence is not None:
        rows.append(("iterations", str(len(data.convergence))))
    if data.templates:
        grid = data.templates[-1][1].grid
        sizes = [f"{size:.3g}" for size in grid.spacing]
        rows.append(("template voxel, mm", sizes[0] if len(set(sizes)) == 1 else " × ".join(sizes)))
    name = checks.first_column(data.volumes, *STRUCTURE)
    if data.volumes is not None and name is not None:
        rows.append(("structures", str(data.volumes[name].nunique())))
    if data.validation is not None and not data.validation.empty:
        mean = float(chosen_fusion(data)["dice"].mean())
        rows.append(("Dice, leave one atlas out", f"{mean:.3f}"))
    if data.overlap is not None and "dice" in data.overlap:
        rows.append(("mean Dice", f"{float(data.overlap['dice'].mean()):.3f}"))
    summary = runtime_summary(data.runtime)
    if summary is not None:
        rows.append(("time of all jobs", duration(float(summary["total_seconds"].sum()))))
    return rows


def find_outliers(data: ReportData) -> pd.DataFrame:
    """Outlying members: of the registrations, and those with many outlying structures."""
    columns = ["member", "measure", "value", "median", "score"]
    parts = []
    if data.registrations is not None and not data.registrations.empty:
        frame = data.registrations
        if "stage" in frame:
            frame = frame[frame["stage"] == frame["stage"].iloc[-1]]
        parts.append(outliers.measure_outliers(frame, REGISTRATION_SIDES))
    for title, frame_of, value in (
        ("volume", data.volumes, VOLUME),
        ("relative Jacobian", data.jacobians, RELATIVE),
    ):
        name, column = checks.first_column(frame_of, *STRUCTURE), checks.first_column(frame_of, *value)
        if frame_of is None or name is None or column is None:
            continue
        far = outliers.structure_outliers(frame_of, name, column)
        structures = frame_of[name].nunique()
        counts = pd.Series(0, index=sorted(set(outliers.member_keys(frame_of))))
        counts = counts.add(far["member"].value_counts(), fill_value=0)
        scores = outliers.robust_scores(counts.to_numpy())
        # a few outlying structures are ordinary among many: a tenth of them is not
        many = (scores >= outliers.THRESHOLD) & (counts.to_numpy() >= max(2, 0.1 * structures))
        rows = pd.DataFrame(
            {
                "member": counts.index[many],
                "measure": f"structures with an outlying {title}",
                "value": counts.to_numpy()[many],
                "median": float(counts.median()),
                "score": scores[many],
            }
        )
        parts.append(rows)
    kept = [part for part in parts if not part.empty]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=columns)


VOLUME = ("volume_mm3", "volume")
RELATIVE = ("relative_mean", "mean_relative", "rel_mean", "log_jacobian_relative_mean", "mean_rel")
ABSOLUTE = ("absolute_mean", "mean_absolute", "abs_mean", "log_jacobian_absolute_mean", "mean_abs")


def template_pictures(data: ReportData) -> list[tuple[str, bytes]]:
    """Picture of the template of every iteration, the last one first."""
    shown = []
    for index, (label, image) in enumerate(reversed(data.templates)):
        mask = data.template_mask
        if mask is not None and not mask.grid.matches(image.grid):
            mask = None
        width = 1040 if index == 0 else 520
        shown.append((label, template_figure(image, mask, width_px=width, convention=data.convention)))
    return shown


def stratum_pictures(data: ReportData) -> list[tuple[str, bytes]]:
    """Picture of the template of every stratum, in the planes of the template, in the order given."""
    return [
        (label, template_figure(image, data.template_mask, width_px=520, convention=data.convention))
        for label, image in data.strata
    ]


def plots_of(data: ReportData) -> dict[str, bytes]:
    """Plots by name; those without data are left out."""
    found: dict[str, bytes] = {}
    if data.convergence is not None and not data.convergence.empty:
        found["convergence"] = convergence_figure(data.convergence, data.convergence_threshold_mm)
    if data.variance is not None and data.templates:
        deviation = Image(np.sqrt(np.maximum(data.variance.data, 0)).astype(np.float32), data.variance.grid)
        found["variance"] = map_figure(
            deviation, data.templates[-1][1], data.template_mask,
            label="standard deviation over members (units of the normalised intensity)",
            convention=data.convention,
        )  # fmt: skip
    if data.influence is not None and not data.influence.empty:
        found["influence"] = influence_figure(data.influence)
    accuracy = None
    if data.validation is not None and not data.validation.empty:
        accuracy = chosen_fusion(data)
        found["fusions"] = structure_figure(
            data.validation, "fusion", "dice", "Dice of every structure and atlas"
        )
        found["bias"] = structure_figure(
            accuracy, "structure", "volume_bias_percent", "volume bias (%; > 0: too large)", zero=True
        )
    for key, frame, value, label, logarithmic in (
        ("volumes", data.volumes, VOLUME, "volume (mm³)", True),
        (
            "relative",
            data.jacobians,
            RELATIVE,
            "mean relative log-Jacobian (> 0: larger than in the template)",
            False,
        ),
        (
            "absolute",
            data.jacobians,
            ABSOLUTE,
            "mean absolute log-Jacobian (> 0: larger than in the template)",
            False,
        ),
        ("asymmetry", data.asymmetry, ("asymmetry_volume",), "volume asymmetry (> 0: left larger)", False),
        ("overlap", data.overlap, ("dice",), "Dice with the member's own labels", False),
        ("dice", accuracy, ("dice",), "Dice with the atlas's own labels", False),
        ("hausdorff", accuracy, ("hausdorff95_mm",), "95 % Hausdorff distance (mm)", False),
    ):
        name, column = checks.first_column(frame, *STRUCTURE), checks.first_column(frame, *value)
        if frame is not None and not frame.empty and name is not None and column is not None:
            zero = key in ("relative", "absolute", "asymmetry")
            found[key] = structure_figure(frame, name, column, label, logarithmic=logarithmic, zero=zero)
    if data.volumes is not None and data.jacobians is not None and data.consistency is not None:
        found["agreement"] = agreement_figure(data.volumes, data.jacobians, data.consistency)
    summary = runtime_summary(data.runtime)
    if summary is not None and not summary.empty:
        found["runtime"] = runtime_figure(summary)
    return found


def chosen_fusion(data: ReportData) -> pd.DataFrame:
    """Rows of the validation of the method that labels the members; all rows where it is not known."""
    assert data.validation is not None
    chosen = data.validation[data.validation["fusion"] == data.fusion]
    return data.validation if chosen.empty else chosen


def accuracy_summary(validation: pd.DataFrame | None) -> pd.DataFrame | None:
    """Means over structures and atlases of every fusion method, the highest Dice first."""
    if validation is None or validation.empty:
        return None
    bias = validation["volume_bias_percent"]
    frame = validation.assign(absolute_volume_bias_percent=bias.abs())
    columns = ["dice", "hausdorff95_mm", "surface_distance_mm", "volume_bias_percent"]
    means = frame.groupby("fusion", sort=True)[[*columns, "absolute_volume_bias_percent"]].mean()
    return means.sort_values("dice", ascending=False, kind="stable").reset_index()


def runtime_summary(runtime: pd.DataFrame | None) -> pd.DataFrame | None:
    """Jobs, time and memory by rule, the longest first."""
    if runtime is None or "rule" not in runtime or "seconds" not in runtime:
        return None
    groups = runtime.groupby("rule", sort=True)
    summary = pd.DataFrame(
        {
            "jobs": groups["seconds"].size(),
            "total_seconds": groups["seconds"].sum(),
            "median_seconds": groups["seconds"].median(),
            "longest_seconds": groups["seconds"].max(),
        }
    )
    if "memory_mb" in runtime:
        summary["largest_memory_mb"] = groups["memory_mb"].max()
    return summary.sort_values("total_seconds", ascending=False, kind="stable").reset_index()
