"""Stage 4: what morphometry reads: labels of the template, and smoothed log-Jacobians of the members."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regcore.image import Image
from regcore.io.label_tables import LabelTable, read_label_table, write_label_tables
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import write_json
from regcore.labels import majority_vote
from regcore.labels.overlap import structures_of
from regcore.morphometry import smooth_map
from regcore.space import Grid
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, read_manifest, usable, write_manifest
from regcore.study.outputs import Layout, sidecar
from regcore.study.settings import MorphometrySettings

VOXELS_AT_ONCE = 1 << 26
DEFAULT_FWHM_VOX = 3.0


def template_labels(population: Sequence[Path], layout: Layout, output: Path, names: str | None) -> None:
    """Label the template as most members' own labels do, once on it; who weighs nothing has no vote.

    Parameters
    ----------
    population : sequence of Path
        Folders of all batches.
    layout : Layout
    output : Path
        Label image; its tables of names come beside it.
    names : str or None
        Table with the names of the labels.
    """
    placed = [each for folder in population for each in usable(folder)]
    keys = [key for key, entry in placed if entry.get("labels") and entry["weight"] > 0]
    grid = read_image(layout.template_image).grid
    fused = np.zeros(grid.shape, np.int32)
    # slabs of planes: a large cohort need not fit into memory at once
    depth = max(VOXELS_AT_ONCE // max(len(keys) * grid.shape[1] * grid.shape[2], 1), 1)
    for start in range(0, grid.shape[0] if keys else 0, depth):
        slab = slice(start, start + depth)
        # copies: a view would keep the whole image
        maps = [read_labels(layout.warped_labels(key)).data[slab].copy() for key in keys]
        here = Grid(maps[0].shape, grid.affine)
        fused[slab] = majority_vote([Image(labels, here) for labels in maps])[0].data
    image = Image(fused, grid)
    LOGGER.info("labels of %d members, %d structures", len(keys), len(structures_of([image])))
    table = LabelTable() if names is None else read_label_table(names)
    write_label_tables(output, structures_of([image]), table)
    write_json(
        sidecar(output),
        {
            "Description": "The label that most members' own labels have there, once on the template",
            "Members": len(keys),
            "SpatialReference": layout.reference,
        },
    )
    write_image(output, image)


def morphometry_batch(population: Path, output: Path, layout: Layout, settings: MorphometrySettings) -> None:
    """Publish the smoothed log-Jacobians of the members of a batch.

    Parameters
    ----------
    population : Path
        Folder of this batch.
    output : Path
        Folder for the manifest.
    layout : Layout
        Where the published files lie.
    settings : MorphometrySettings
    """
    entries: dict[str, Entry] = {}
    for key, before in read_manifest(population).items():
        entries[key] = before
        if before["status"] != "ok":
            continue
        for kind in ("abs", "rel"):
            image = read_image(layout.log_jacobian(key, kind))
            width = settings.fwhm_mm
            if width is None:
                spacing = [
                    each for each, n in zip(image.grid.spacing, image.grid.shape, strict=True) if n > 1
                ]
                width = DEFAULT_FWHM_VOX * float(np.mean(spacing))
            file = layout.smoothed_log_jacobian(key, kind)
            write_image(file, smooth_map(image, width), decimals=4)
            write_json(
                sidecar(file),
                {
                    "Description": "Smoothed natural logarithm of the Jacobian determinant; above 0 where "
                    "the subject is larger than the template",
                    "SmoothingFWHM": width,
                    "SmoothingUnits": "mm",
                    "Sources": [layout.uri(layout.log_jacobian(key, kind))],
                    "SpatialReference": layout.reference,
                },
            )
        entries[key] = good()
    write_manifest(output, entries)
