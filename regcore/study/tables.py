"""Stage 5: the tables of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regcore.io.label_tables import read_label_table
from regcore.io.tables import read_json, read_table, write_table
from regcore.morphometry import asymmetry_table, volume_agreement
from regcore.qc.outliers import member_keys
from regcore.qc.weights import MEASURES, score_members
from regcore.sides import side_pairs
from regcore.study import influence, strata
from regcore.study.gather import STATE
from regcore.study.manifest import read_manifest
from regcore.study.weighing import QC

LOG_JACOBIAN = "natural logarithm, above 0 where the subject is larger than the template"
GROWTH = "natural logarithm, above 0 where the stratum is larger"
DICTIONARY: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session"},
    "segmentation": {
        "Description": "Where the labels come from",
        "Levels": {
            "own": "labels given with the image",
            "atlas": "labels fused from the atlases",
            "foreground": "foreground of the subject's template",
        },
    },
    "label": {"Description": "Value in the label image"},
    "structure": {"Description": "Name of the structure"},
    "volume_mm3": {"Description": "Volume of the structure", "Units": "mm^3"},
    "reference_volume_mm3": {"Description": "Volume in the member's own labels", "Units": "mm^3"},
    "share_of_intracranial": {"Description": "Volume over the intracranial volume (or all labels together)"},
    "voxels": {"Description": "Voxels of the structure in template space"},
    "absolute_mean": {"Description": f"Mean absolute log-Jacobian: {LOG_JACOBIAN}"},
    "absolute_sd": {"Description": "Standard deviation of the absolute log-Jacobian"},
    "relative_mean": {"Description": f"Mean log-Jacobian without the overall size: {LOG_JACOBIAN}"},
    "relative_sd": {"Description": "Standard deviation of the relative log-Jacobian"},
    "integrated_volume_mm3": {
        "Description": "Volume in the member: integral of the Jacobian over the template's label",
        "Units": "mm^3",
    },
    "bias_percent": {
        "Description": "Integrated over label volume, geometric mean over members, less one",
        "Units": "%",
    },
    "spread_percent": {"Description": "Standard deviation of the logarithm of that ratio", "Units": "%"},
    "correlation": {"Description": "Pearson correlation of the two volumes over members"},
    "confidence_mean": {
        "Description": "Mean confidence of the fused labels over the structure: share of the weights for the "
        "label chosen, 1 at best"
    },
    "baseline_session_id": {"Description": "Session that change is measured from"},
    "within_mean": {
        "Description": "Mean log-Jacobian over the structure on the subject's template: natural logarithm, "
        "above 0 where the session is larger than the subject's template"
    },
    "between_mean": {
        "Description": f"Mean log-Jacobian of the subject's template over the same voxels: {LOG_JACOBIAN}"
    },
    "overall_mean": {
        "Description": "Mean log-Jacobian of a session over the same voxels, the sum of within and between: "
        "natural logarithm, above 0 where the session is larger than the template"
    },
    "within_change": {"Description": "within_mean less that of the baseline"},
    "volume_change_percent": {"Description": "Volume less that at the baseline, over it", "Units": "%"},
    "own_volume_mm3": {"Description": "Volume in the session's own labels", "Units": "mm^3"},
    "own_volume_change_percent": {
        "Description": "Volume in the session's own labels less that at the baseline, over it",
        "Units": "%",
    },
    "sources": {"Description": "Sessions whose labels were carried"},
    "sessions": {"Description": "Sessions whose maps were added up"},
    "mean": {"Description": "Mean of the accumulated map over the structure, in its unit"},
    "minimum": {"Description": "Smallest value of the accumulated map in the structure"},
    "maximum": {"Description": "Largest value of the accumulated map in the structure"},
    "d98": {"Description": "Least value in the 98 % of the structure with the largest values"},
    "d95": {"Description": "Least value in the 95 % of the structure with the largest values"},
    "d50": {"Description": "Least value in the 50 % of the structure with the largest values"},
    "d2": {"Description": "Least value in the 2 % of the structure with the largest values"},
    "value": {"Description": "Value of the accumulated map, in its unit"},
    "volume_share": {"Description": "Share of the structure with at least this value"},
    "atlas": {"Description": "Atlas that all others labelled"},
    "fusion": {"Description": "How the labels of the others were fused"},
    "volume_bias_percent": {
        "Description": "Volume of the fused labels less that of the own, over that of the own",
        "Units": "%",
    },
    "dice": {"Description": "Dice overlap of fused and own labels, 1 at best"},
    "surface_distance_mm": {"Description": "Mean distance between the surfaces, both ways", "Units": "mm"},
    "hausdorff95_mm": {"Description": "95th percentile of the distances between the surfaces", "Units": "mm"},
    "fixed": {"Description": "Image that stays"},
    "moving": {"Description": "Image that is moved"},
    "stage": {"Description": "Stage of the workflow, or of the template"},
    "iteration": {"Description": "Iteration of the template"},
    "similarity_before": {"Description": "Correlation of the images before the registration"},
    "similarity_after": {"Description": "Correlation of the images after the registration"},
    "folded_voxels": {"Description": "Voxels at which the map or its inverse folds"},
    "minimum_jacobian": {"Description": "Smallest Jacobian determinant of the map and its inverse"},
    "inverse_consistency_mean_vox": {"Description": "Mean length of map after inverse", "Units": "voxel"},
    "inverse_consistency_max_vox": {"Description": "Largest length of map after inverse", "Units": "voxel"},
    "mask_dice": {"Description": "Dice of the foregrounds of the warped and the fixed image, 1 at best"},
    "label_dice": {
        "Description": "Mean Dice, over structures, of the member's own labels on the template with the "
        "labels that most members have there; decides no weight"
    },
    "affine_log_volume": {
        "Description": "Natural logarithm of the affine's change of volume, above 0 where the moving image "
        "is larger"
    },
    "affine_log_anisotropy": {
        "Description": "Length of the affine's log stretch without its change of volume: 0 where all "
        "directions are stretched alike"
    },
    "score": {
        "Description": "Distance of the worst measure from the median of the cohort, on its bad side",
        "Units": "robust standard deviations",
    },
    "worst": {"Description": "Measure that has the score"},
    "weight": {
        "Description": "Weight of the member in the average of this iteration, or in the published template"
    },
    "reason": {"Description": "Why it is not 1"},
    "held": {"Description": "Whether its transform to a given template was known: it was not registered"},
    "next_weight": {"Description": "Weight that the rule gives the member in an iteration that follows"},
    "next_reason": {"Description": "Why it is not 1"},
    "linear_retries": {"Description": "Linear stages whose answer was implausible and was looked for again"},
    "members": {"Description": "Members averaged"},
    "rms_shape_update_mm": {"Description": "RMS movement of the template's shape", "Units": "mm"},
    "rms_motion_mm": {"Description": "RMS movement of the members by a linear stage", "Units": "mm"},
    "mean_log_jacobian": {"Description": "Mean absolute log-Jacobian of the mean transform"},
    "mean_displacement_rms_mm": {"Description": "RMS of the mean displacement", "Units": "mm"},
    "mean_log_affine_rms_mm": {"Description": "RMS displacement by the mean log affine", "Units": "mm"},
    "template_change": {"Description": "RMS difference from the template before, over its RMS"},
    "sharpness": {
        "Description": "Root mean square gradient of the template over its mean intensity",
        "Units": "1/mm",
    },
    "mean_similarity": {"Description": "Mean correlation of members and template"},
    "outliers": {"Description": "Members far less similar to the template than the others"},
    "rms_intensity_change": {
        "Description": "RMS over the foreground of the change of the template's intensity if this member "
        "were left out"
    },
    "relative_intensity_change": {"Description": "The same over the RMS intensity of the template"},
    "rms_displacement_change_mm": {
        "Description": "RMS change of the mean displacement if this member were left out",
        "Units": "mm",
    },
    "rms_stretch_change_mm": {
        "Description": "RMS displacement by the change of the mean log stretch if this member were left out",
        "Units": "mm",
    },
    "stratum": {"Description": "cohort-<number> of the template in file names"},
    "name": {"Description": "What the stratum is"},
    "effective_members": {"Description": "Square of the sum of the weights over the sum of their squares"},
    "covariate": {"Description": "Covariate that the stratum is one of"},
    "covariate_mean": {"Description": "Weighted mean of the covariate over the members"},
    "mean_growth": {"Description": f"Mean log-Jacobian from the template's shape to the stratum's: {GROWTH}"},
    "rms_shape_change_mm": {
        "Description": "RMS distance over the foreground between the shapes of stratum and template",
        "Units": "mm",
    },
    "left_label": {"Description": "Value of the left structure in the label image"},
    "right_label": {"Description": "Value of the right structure in the label image"},
    "left_volume_mm3": {"Description": "Volume of the left structure", "Units": "mm^3"},
    "right_volume_mm3": {"Description": "Volume of the right structure", "Units": "mm^3"},
    "asymmetry_volume": {
        "Description": "Asymmetry index 2 (L - R) / (L + R) of the volumes, above 0 where the left is larger"
    },
    "asymmetry_jacobian": {
        "Description": "The same of the mean absolute log-Jacobians l and r, 2 tanh((l - r) / 2): relative "
        "to the template, and the subject's own where the template is symmetric"
    },
    "passed_through": {"Description": "Whether the stage had converged and the iteration repeats the last"},
    "rule": {"Description": "Rule of the workflow"},
    "job": {"Description": "Batch, and iteration where there is one"},
    "seconds": {"Description": "Run time, from start to end", "Units": "s"},
    "memory_mb": {"Description": "Largest resident memory", "Units": "MB"},
    "cpu_seconds": {"Description": "Processor time", "Units": "s"},
}
MADE_IN = {
    "sessions": "followed",
    "propagation": "propagated",
    "accumulated": "accumulated",
    "histograms": "accumulated",
}
QUALITY = [
    "similarity_before",
    "similarity_after",
    "mask_dice",
    "label_dice",
    "folded_voxels",
    "minimum_jacobian",
    "inverse_consistency_mean_vox",
    "inverse_consistency_max_vox",
    "affine_log_volume",
    "affine_log_anisotropy",
    "linear_retries",
    "score",
    "worst",
    "weight",
]


def participant_and_session(key: str) -> tuple[str, str | None]:
    """Participant and session of a member key.

    Examples
    --------
    >>> participant_and_session("sub-01_ses-02")
    ('sub-01', 'ses-02')
    """
    participant, _, session = key.partition("_")
    return participant, session or None


def collect_tables(
    folders: Sequence[Path],
    template: Path | None,
    outputs: Mapping[str, Path],
    covariates: Sequence[Mapping[str, Any]],
    names: Mapping[str, str] | None = None,
) -> None:
    """Write the tables that a study asks for, covariates joined.

    Parameters
    ----------
    folders : sequence of Path
        ``<kind>/<batch>`` of the kinds population, sessions, template_library, atlas, validation, pairwise,
        measured, influence, strata, propagated, followed and accumulated.
    template : Path or None
        Folder of the last iteration of the template; its neighbours are the other iterations.
    outputs : mapping
        Name of a table to its file.
    covariates : sequence of mapping
        A row a member, and a row a session of a subject, with `participant_id`, `session_id` and covariates.
    names : mapping, optional
        Tables of label names: ``own``, ``atlas``.
    """
    people = pd.DataFrame(list(covariates))
    for name, file in outputs.items():
        if name == "convergence":
            assert template is not None
            frame = pd.DataFrame(read_json(template / STATE)["rows"])
        elif name == "atlas_validation":
            frame = _put_together(folders, "validation", name, ["atlas", "fusion", "label", "structure"])
        elif name == "influence":
            frame = _join(_put_together(folders, name, name, ["member", *influence.COLUMNS]), people)
        elif name == "strata":
            frame = _put_together(folders, name, name, strata.COLUMNS)
        elif name == "asymmetry":
            frame = _join(_asymmetry(folders, names or {}, "jacobians" in outputs), people)
        elif name == "registrations":
            frame = _join(_registrations(folders, template), people)
        elif name == "consistency":
            frame = volume_agreement(*(_measured(folders, each) for each in ("jacobians", "volumes")))
        else:
            frame = _join(_measured(folders, name), people)
        write_table(file, frame, DICTIONARY)


def _registrations(folders: Sequence[Path], template: Path | None) -> pd.DataFrame:
    """A row a registration: iterations of the template, pairs, atlases, and last the published maps."""
    rows: list[dict[str, Any]] = []
    if template is not None:
        for iteration in sorted(each for each in template.parent.iterdir() if each.name <= template.name):
            file = iteration / QC
            if file.exists() and iteration.name != "00":
                done = read_table(file)
                # an iteration that passed through repeats the rows of the one before
                done = done[(done["iteration"] == int(iteration.name)) & ~done["held"].astype(bool)]
                named = done.assign(member=member_keys(done), fixed="template")
                rows += [{str(name): each for name, each in row.items()} for row in named.to_dict("records")]
    labels = {
        key: entry["label_dice"]
        for folder in folders
        if folder.parent.name == "measured"
        for key, entry in read_manifest(folder).items()
        if "label_dice" in entry
    }
    for kind in ("pairwise", "template_library", "validation", "atlas", "sessions", "population"):
        for folder in folders:
            if folder.parent.name != kind:
                continue
            entries = read_manifest(folder).items()
            # the sessions of a subject are kept in the order of their content
            for key, entry in sorted(entries) if kind == "sessions" else entries:
                if entry["status"] != "ok":
                    continue
                if "registrations" in entry:
                    rows += [
                        {"member": key, "stage": kind, "fixed": key, "moving": each["atlas"], **each}
                        for each in entry["registrations"]
                    ]
                else:
                    member = entry.get("moving", key)
                    # the sessions of a subject are registered to its own template
                    fixed = entry.get("fixed", folder.name if kind == "sessions" else "template")
                    row = {"member": member, "stage": kind, "fixed": fixed, **entry["quality"]}
                    if kind in ("population", "sessions"):
                        row |= {"weight": entry["weight"], "label_dice": labels.get(key)}
                    rows.append(row)
    frame = pd.DataFrame(rows, columns=["member", "stage", "iteration", "fixed", "moving", *QUALITY])
    frame["moving"] = frame["moving"].fillna(frame["member"])
    # a column of nothing but missing values is one of numbers otherwise
    frame["worst"] = frame["worst"].astype(object)
    for _, group in frame[frame["iteration"].isna()].groupby("stage", sort=False):
        frame.loc[group.index, ["score", "worst"]] = score_members(group, list(MEASURES))
    for name in ("iteration", "linear_retries"):
        frame[name] = frame[name].astype("Int64")
    return frame


def _measured(folders: Sequence[Path], name: str) -> pd.DataFrame:
    """Rows of a table of all members."""
    return _put_together(
        folders, MADE_IN.get(name, "measured"), name, ["member", "segmentation", "label", "structure"]
    )


def _asymmetry(folders: Sequence[Path], names: Mapping[str, str], template: bool) -> pd.DataFrame:
    """Left and right of every paired structure, from the rows that were measured."""
    columns = ["member", "segmentation", "label"]
    volumes = _put_together(folders, "measured", "volumes", [*columns, "volume_mm3"])
    jacobians = None
    if template:
        jacobians = _put_together(folders, "measured", "jacobians", [*columns, "absolute_mean"])
    pairs = {kind: side_pairs(read_label_table(file).names) for kind, file in names.items()}
    return asymmetry_table(volumes, jacobians, pairs)


def _put_together(folders: Sequence[Path], kind: str, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Rows of one table of all folders of a kind; the columns alone where there are none."""
    files = [folder / f"{name}.tsv" for folder in folders if folder.parent.name == kind]
    frames = [read_table(file) for file in files if file.exists()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(columns))


def _join(frame: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Identifiers first, measures, then the covariates of the participant."""
    identifiers = [participant_and_session(key) for key in frame.pop("member").astype(str)]
    frame.insert(0, "participant_id", [participant for participant, _ in identifiers])
    frame.insert(1, "session_id", pd.Series([session for _, session in identifiers], dtype=object))
    keys = ["participant_id", "session_id"]
    if len(frame) and not frame["session_id"].notna().any():
        people = people[people["session_id"].isna()]
    if not people["session_id"].notna().any():
        frame, people = frame.drop(columns="session_id"), people.drop(columns="session_id")
        keys = ["participant_id"]
    # a covariate that is called like a measure must not replace it
    renamed = {name: f"covariate_{name}" for name in people if name in frame and name not in keys}
    return frame.merge(people.rename(columns=renamed), how="left", on=keys, sort=False)


def collect_runtime(benchmarks: Path, output: Path) -> None:
    """Write run time and memory of every job.

    Parameters
    ----------
    benchmarks : Path
        Folder with ``<rule>/<job>.tsv`` as Snakemake writes them.
    output : Path
    """
    rows = []
    for file in sorted(benchmarks.glob("*/*.tsv")):
        values = read_table(file).iloc[-1]
        rows.append(
            {
                "rule": file.parent.name,
                "job": file.stem,
                "seconds": values.get("s"),
                "memory_mb": values.get("max_rss"),
                "cpu_seconds": values.get("cpu_time"),
            }
        )
    frame = pd.DataFrame(rows, columns=["rule", "job", "seconds", "memory_mb", "cpu_seconds"])
    write_table(output, frame, DICTIONARY)
