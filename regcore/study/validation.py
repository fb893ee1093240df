"""Stage 4: how accurate the labels are: each atlas labelled by all others, beside its own labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from regcore.errors import InputError, unnamed
from regcore.image import Image
from regcore.io.label_tables import LabelTable, read_label_table
from regcore.io.nifti import read_labels
from regcore.io.tables import write_table
from regcore.labels.overlap import overlap_table
from regcore.morphometry import structure_means
from regcore.resample import resample
from regcore.study.atlas import fuse_candidates
from regcore.study.atlases import Atlas
from regcore.study.carry import Places, carry
from regcore.study.job import LOGGER
from regcore.study.manifest import good, set_aside, write_manifest
from regcore.study.settings import AtlasSettings

TABLE = "atlas_validation.tsv"


def validate_atlas(
    key: str,
    atlases: Sequence[Atlas],
    places: Places,
    output: Path,
    names: str | None,
    settings: AtlasSettings,
    methods: Sequence[str],
) -> None:
    """Label an atlas by the others, fused in several ways, and compare with its own labels.

    Parameters
    ----------
    key : str
        Of the atlas.
    atlases : sequence of Atlas
        All of them.
    places : Places
    output : Path
        Folder for `atlas_validation.tsv`, a row a fusion method and structure, and the manifest.
    names : str or None
        Table with the names of the labels.
    settings : AtlasSettings
    methods : sequence of str
        Fusion methods to compare.
    """
    table = LabelTable() if names is None else read_label_table(names)
    own = next(atlas for atlas in atlases if atlas.key == key)
    try:
        target = places.image(key)
        reference = read_labels(own.labels)
        if not reference.grid.matches(target.grid):
            reference = resample(reference, target.grid, None, "label")
        candidates = carry(key, target, atlases, places, settings)
    except InputError as error:
        write_manifest(output, {key: set_aside("validation", unnamed(error, own.labels))})
        return
    frames = []
    for method in methods:
        fused = fuse_candidates(target, candidates, settings, method)
        frames.append(_accuracy(*fused, reference, table))
        frames[-1].insert(0, "atlas", key)
        frames[-1].insert(1, "fusion", method)
        LOGGER.info("%s: mean Dice %.4f by %s", key, frames[-1]["dice"].mean(), method)
    write_table(output / TABLE, pd.concat(frames, ignore_index=True))
    write_manifest(output, {key: good(registrations=candidates.registrations)})


def _accuracy(fused: Image, confidence: Image, reference: Image, table: LabelTable) -> pd.DataFrame:
    """A row a structure: overlap, distances, volumes and their difference, mean confidence."""
    frame = overlap_table(fused, reference, table.names)
    difference = frame["volume_mm3"] - frame["reference_volume_mm3"]
    # a structure that the atlas lacks has no volume to be a share of
    frame["volume_bias_percent"] = (
        100 * difference / frame["reference_volume_mm3"].where(frame["reference_volume_mm3"] > 0)
    )
    frame["confidence_mean"] = frame["label"].map(structure_means(confidence, fused))
    return frame
