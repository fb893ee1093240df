"""Stage 4: what the atlases say about the template: label probabilities and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError, unnamed
from regcore.image import Image
from regcore.io.label_tables import LabelTable, read_label_table
from regcore.io.nifti import read_image, read_labels
from regcore.io.nifti_writer import write_volumes
from regcore.labels.overlap import structures_of
from regcore.labels.propagate import propagate
from regcore.study.atlas import fuse_candidates, publish_fused
from regcore.study.atlases import Atlas
from regcore.study.carry import Candidates, Places
from regcore.study.job import LOGGER
from regcore.study.outputs import describe, resolution
from regcore.study.settings import AtlasSettings


def atlas_priors(
    atlases: Sequence[Atlas],
    places: Places,
    files: Mapping[str, Path],
    names: str | None,
    settings: AtlasSettings,
) -> None:
    """Carry all atlases to the template; publish how probable each label is there, and the labels fused.

    Parameters
    ----------
    atlases : sequence of Atlas
        Those that cannot be used are left out with a warning.
    places : Places
    files : mapping
        Output files: `probabilities`, `labels`, `confidence`.
    names : str or None
        Table with the names of the labels.
    settings : AtlasSettings

    Raises
    ------
    InputError
        If no atlas can be used.
    """
    template = read_image(places.layout.template_image)
    found = Candidates()
    for atlas in atlases:
        try:
            image, transform = places.image(atlas.key), places.forward(atlas.key)
            labels, warped = propagate(read_labels(atlas.labels), image, template.grid, transform)
        except InputError as error:
            LOGGER.warning("template: atlas %s left out: %s", atlas.key, unnamed(error, atlas.labels))
            continue
        found.labels.append(labels)
        found.images.append(warped)
        found.sources.append(atlas.key)
    if not found.labels:
        raise InputError("template: expected at least one usable atlas, found none")
    table = LabelTable() if names is None else read_label_table(names)
    present = structures_of(found.labels)
    write_volumes(
        files["probabilities"],
        template.grid,
        _votes(found.labels, present),
        len(present),
        dtype=np.uint16 if len(found.labels) > 255 else np.uint8,
        slope=1 / len(found.labels),
    )
    describe(
        files["probabilities"],
        "Share of the atlases with each label, registered to the template",
        LabelMap=[table.name(label) for label in present],
        LabelIndex=present,
        Sources=found.sources,
        SpatialReference=places.layout.reference,
        Resolution=resolution(template.grid),
    )
    fused = fuse_candidates(template, found, settings)
    reference = places.layout.reference
    publish_fused(files["labels"], files["confidence"], fused, found, table, settings, reference)


def _votes(labels: Sequence[Image], present: Sequence[int]) -> Iterator[npt.NDArray[np.uint16]]:
    """How many atlases have each label at each voxel, one label after another."""
    for label in present:
        counts = np.zeros(labels[0].grid.shape, np.uint16)
        for image in labels:
            counts += image.data == label
        yield counts
