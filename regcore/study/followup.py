"""What is followed from session to session of a subject: labels, volumes and Jacobians."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcore.image import Image
from regcore.io.itk import read_transform
from regcore.io.label_tables import LABEL_COLUMNS, LabelTable, write_label_tables
from regcore.io.nifti import read_grid, read_image, read_labels, write_image
from regcore.io.tables import write_table
from regcore.labels.fuse import majority_vote
from regcore.labels.overlap import overlap_table, structures_of
from regcore.morphometry import log_jacobian, structure_means
from regcore.resample import resample
from regcore.study.job import LOGGER
from regcore.study.manifest import good, located, usable, write_manifest
from regcore.study.outputs import Layout, describe
from regcore.study.regions import SubjectLabels
from regcore.study.sessions import Visits
from regcore.transforms import Chain

DECIMALS = 6
CHANGES = {"volume_mm3": "volume_change_percent", "own_volume_mm3": "own_volume_change_percent"}


def propagate_labels(
    visits: Visits,
    labels: SubjectLabels,
    prepared: Sequence[Path],
    output: Path,
    labels_from: str,
) -> None:
    """Carry labels to the sessions of a subject, each through one interpolation.

    Where there are own labels, the overlap with those that were carried there is measured.

    Parameters
    ----------
    visits : Visits
    labels : SubjectLabels
    prepared : sequence of Path
        Folders of the prepared sessions.
    output : Path
        Folder for the table and the manifest; the labels are published.
    labels_from : str
        ``first``: own labels of the first session that has any go to all others; ``all``: each session gets
        the majority of the labels of all others. Those of a session that weighs nothing in the subject's
        template go nowhere. What the atlases give the subject goes to every session.
    """
    own = dict(visits.labels(labels.own))
    trusted = [key for key in own if key in visits.counting]
    fused = labels.fused(visits.subject)
    images = located(prepared)
    frames = []
    for session in visits.sessions:
        if session == visits.subject:
            continue
        folder, entry = images[session]
        grid = read_grid(folder / entry["image"])
        back = visits.from_subject(session)
        sources = [key for key in (trusted[:1] if labels_from == "first" else trusted) if key != session]
        if sources:
            carried = [
                resample(own[key], grid, Chain((visits.to_subject(key), back)), "label") for key in sources
            ]
            found = majority_vote(carried)[0]
            table = labels.tables.get("own", LabelTable())
            about = f"Labels carried from {', '.join(sources)}"
            _publish(labels.layout.propagated(session), found, table, about)
            if session in own:
                reference = own[session]
                if not reference.grid.matches(grid):
                    reference = resample(reference, grid, None, "label")
                frame = overlap_table(found, reference, table.names)
                frame.insert(0, "member", session)
                frame.insert(1, "sources", len(sources))
                frames.append(frame)
        if fused is not None:
            _publish(
                labels.layout.fused(session, labels.atlas_name),
                resample(read_labels(fused), grid, back, "label"),
                labels.tables.get("atlas", LabelTable()),
                f"Labels that the atlases {labels.atlas_name} give the subject's template, carried to the "
                "session",
            )
        LOGGER.info("%s: labels from %s", session, ", ".join(sources) or "no session")
    if frames:
        write_table(output / "propagation.tsv", pd.concat(frames, ignore_index=True))
    write_manifest(output, {session: good() for session in visits.sessions})


def _publish(file: Path, labels: Image, table: LabelTable, about: str) -> None:
    """Labels on the grid of a session's image."""
    write_image(file, labels)
    write_label_tables(file, structures_of([labels]), table)
    describe(file, about, SpatialReference="orig", Manual=False, Columns=LABEL_COLUMNS)


def measure_sessions(
    visits: Visits,
    labels: SubjectLabels,
    population: Path | None,
    output: Path,
    baseline: str,
) -> None:
    """Measure how structures change from session to session, on the subject's template.

    Parameters
    ----------
    visits : Visits
    labels : SubjectLabels
    population : Path or None
        Folder of the subject's chained sessions, where there is a template of the population.
    output : Path
        Folder for the table and the manifest.
    baseline : str
        As `baseline_of` takes it.
    """
    if not visits.sessions:
        write_manifest(output, {visits.subject: visits.entry})
        return
    chained = {} if population is None else dict(usable(population))
    regions, start = labels.regions(visits), baseline_of(visits, baseline)
    own = {session: _volumes(image) for session, image in visits.labels(labels.own)}
    rows: list[dict[str, Any]] = []
    for session in visits.sessions:
        maps = _jacobians(visits, session, labels.layout if session in chained else None)
        for kind, region in regions.items():
            means = {name: structure_means(image, region) for name, image in maps.items()}
            growth = structure_means(Image(np.exp(maps["within"].data), region.grid), region)
            sizes = _volumes(region)
            for label in structures_of([region]):
                known = labels.names_of(kind)
                rows.append(
                    {
                        "member": session,
                        "baseline": start,
                        "segmentation": kind,
                        "label": label,
                        "structure": known.get(label, f"label-{label}"),
                        **{f"{name}_mean": values[label] for name, values in means.items()},
                        "volume_mm3": sizes[label] * growth[label],
                        "own_volume_mm3": own.get(session, {}).get(label, 0.0)
                        if kind == "own" and session in own
                        else None,
                    }
                )
    write_table(output / "sessions.tsv", with_changes(pd.DataFrame(rows)))
    write_manifest(output, {session: good() for session in visits.sessions})


def baseline_of(visits: Visits, wanted: str) -> str | None:
    """Key of the session that change is measured from, among those that count in the subject's template.

    Parameters
    ----------
    visits : Visits
    wanted : str
        ``first`` of them, or the identifier of a session.

    Returns
    -------
    str or None
        None where the subject has no such session, or it could not be used, or weighs nothing.
    """
    named = f"_ses-{wanted.removeprefix('ses-')}"
    return next((key for key in visits.counting if wanted == "first" or key.endswith(named)), None)


def with_changes(frame: pd.DataFrame) -> pd.DataFrame:
    """Add what changed since the baseline; nothing is known of it where there is no baseline.

    Parameters
    ----------
    frame : DataFrame
        Rows of one subject: ``member, baseline, segmentation, label, within_mean, volume_mm3,
        own_volume_mm3``.

    Returns
    -------
    DataFrame
        With ``within_change``, the difference of the mean within-subject log-Jacobians, and
        ``volume_change_percent`` and ``own_volume_change_percent``.
    """
    keys = ["segmentation", "label"]
    measured = ["within_mean", *CHANGES]
    at_start = frame[frame["member"] == frame["baseline"]].set_index(keys)[measured].astype(float)
    before = pd.DataFrame(
        at_start.reindex(pd.MultiIndex.from_frame(frame[keys])).to_numpy(), columns=measured
    )
    frame = frame.reset_index(drop=True)
    frame["within_change"] = (frame["within_mean"] - before["within_mean"]).round(DECIMALS)
    for name, change in CHANGES.items():
        start = before[name].where(before[name] > 0)
        frame[change] = (100 * (frame[name].astype(float) / start - 1)).round(DECIMALS)
    frame["baseline_session_id"] = [
        key.partition("_")[2] or None if isinstance(key, str) else None for key in frame.pop("baseline")
    ]
    return frame


def _jacobians(visits: Visits, session: str, layout: Layout | None) -> dict[str, Image]:
    """Log-Jacobians on the subject's template: within and, with a population, between and overall."""
    grid = visits.grid
    found = {"within": log_jacobian(visits.to_subject(session), grid)}
    if layout is not None:
        back = read_transform(layout.backward(visits.subject), sealed=True)
        for name, key in (("between", visits.subject), ("overall", session)):
            found[name] = resample(read_image(layout.log_jacobian(key, "abs")), grid, back)
    return found


def _volumes(labels: Image) -> dict[int, float]:
    """Volume of every label, mm3."""
    found, counts = np.unique(labels.data[labels.data > 0], return_counts=True)
    return dict(zip(found.tolist(), (counts * labels.grid.voxel_volume).tolist(), strict=True))
