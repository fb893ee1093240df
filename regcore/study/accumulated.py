"""A map of each session, such as a dose, added up on the template of the subject."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from regcore.errors import InputError, unnamed
from regcore.io.nifti import read_image, write_image
from regcore.io.tables import write_json, write_table
from regcore.morphometry import accumulate, value_summary, volume_histogram
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, set_aside, write_manifest
from regcore.study.outputs import sidecar
from regcore.study.regions import SubjectLabels
from regcore.study.sessions import Visits
from regcore.study.settings import SessionsSettings


def accumulate_maps(
    visits: Visits,
    labels: SubjectLabels,
    maps: Mapping[str, str],
    output: Path,
    settings: SessionsSettings,
) -> None:
    """Add up the maps of the usable sessions of a subject, and tell how the sum is spread over structures.

    Parameters
    ----------
    visits : Visits
    labels : SubjectLabels
    maps : mapping
        Session to its map, in the space of its image, on any grid.
    output : Path
        Folder for the tables and the manifest; the sum is published.
    settings : SessionsSettings
    """
    entries: dict[str, Entry] = {} if visits.sessions else {visits.subject: visits.entry}
    found = {}
    for session in visits.sessions:
        if session in maps:
            try:
                found[session] = read_image(maps[session])
                entries[session] = good()
            except InputError as error:
                reason = unnamed(error, maps[session])
                entries[session] = set_aside("accumulate", reason)
                LOGGER.warning("%s: %s left out: %s", session, settings.accumulate, reason)
    if found:
        transforms = [visits.to_subject(session) for session in found]
        total = accumulate(list(found.values()), transforms, visits.grid, settings.accumulation)
        file = visits.within.accumulated(visits.subject, str(settings.accumulate))
        write_image(file, total)
        write_json(
            sidecar(file),
            {
                "Description": f"Sum of the {settings.accumulate} of {len(found)} sessions",
                "Sessions": list(found),
                "SpatialReference": visits.within.reference,
            },
        )
        tables: dict[str, list[pd.DataFrame]] = {"accumulated": [], "histograms": []}
        for kind, region in labels.regions(visits).items():
            known = labels.names_of(kind)
            for name, frame in (
                ("accumulated", value_summary(total, region, known)),
                ("histograms", volume_histogram(total, region, known, settings.histogram_step)),
            ):
                frame.insert(0, "member", visits.subject)
                frame.insert(1, "segmentation", kind)
                frame.insert(2, "sessions", len(found))
                tables[name].append(frame)
        for name, frames in tables.items():
            write_table(output / f"{name}.tsv", pd.concat(frames, ignore_index=True))
        LOGGER.info("%s: %s of %d sessions", visits.subject, settings.accumulate, len(found))
    write_manifest(output, entries)
