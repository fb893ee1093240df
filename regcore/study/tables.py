"""Stage 5: the tables of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcore.io.label_tables import read_label_table
from regcore.io.tables import read_json, read_table, write_table
from regcore.morphometry import asymmetry_table, volume_agreement
from regcore.qc.outliers import member_keys
from regcore.qc.weights import MEASURES, score_members
from regcore.sides import side_pairs
from regcore.study import influence, strata
from regcore.study.dictionary import DICTIONARY
from regcore.study.gather import STATE
from regcore.study.job import used
from regcore.study.manifest import read_manifest
from regcore.study.planning.costs import Cost
from regcore.study.weighing import QC

MADE_IN = {
    "sessions": "followed",
    "propagation": "propagated",
    "accumulated": "accumulated",
    "histograms": "accumulated",
}
MIB = 2**20
RUNTIME = [
    "rule",
    "job",
    "seconds",
    "memory_mb",
    "cpu_seconds",
    "expected_memory_mb",
    "expected_cpu_seconds",
]
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


def collect_runtime(work: Path, output: Path, expected: Mapping[str, Cost]) -> None:
    """Write run time and memory of every job, and what was expected.

    Snakemake looks at a job twice a second and later less, and misses peaks; so what the job itself has
    logged at its end counts where it is more.

    Parameters
    ----------
    work : Path
        Working folder, with ``benchmarks/<rule>/<job>.tsv`` as Snakemake writes them, and the logs.
    output : Path
    expected : mapping
        Cost of the jobs, from `Plan.costs`. Files of other jobs were left behind by an earlier configuration.
    """
    rows = []
    for file in sorted((work / "benchmarks").glob("*/*.tsv")):
        rule = file.parent.name
        cost = expected.get(f"{rule}/{file.stem}")
        if cost is None:
            continue
        values = read_table(file).iloc[-1]
        logs = [work / "logs" / rule / f"{file.stem}.log", work / "logs" / f"{rule}.log"]
        seconds, memory = next(filter(None, map(used, logs)), (np.nan, np.nan))
        rows.append(
            {
                "rule": rule,
                "job": file.stem,
                "seconds": values.get("s"),
                "memory_mb": np.fmax(values.get("max_rss", np.nan) * MIB / 1e6, memory),
                "cpu_seconds": np.fmax(values.get("cpu_time", np.nan), seconds),
                "expected_memory_mb": cost.memory_mb,
                "expected_cpu_seconds": cost.seconds,
            }
        )
    write_table(output, pd.DataFrame(rows, columns=RUNTIME), DICTIONARY)
