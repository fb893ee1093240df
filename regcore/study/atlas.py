"""Stage 4: labels of atlases, carried to the members and fused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.itk import write_transform
from regcore.io.label_tables import LABEL_COLUMNS, LabelTable, read_label_table, write_label_tables
from regcore.io.nifti import read_image, write_image
from regcore.io.screen import screen_image
from regcore.labels.fuse import fuse
from regcore.labels.overlap import structures_of
from regcore.registration import RegistrationSettings, register
from regcore.study.atlases import Atlas
from regcore.study.carry import Candidates, Places, carry
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, set_aside, write_manifest
from regcore.study.outputs import Layout, describe
from regcore.study.prepare import prepare_image
from regcore.study.settings import AtlasSettings, PrepareSettings


def prepare_atlas(
    key: str,
    image: Path,
    template: bool,
    output: Path,
    layout: Layout,
    prepare: PrepareSettings,
    registration: RegistrationSettings,
) -> None:
    """Prepare an atlas that is no member, and register it to the template.

    Parameters
    ----------
    key : str
    image : Path
        Its image.
    template : bool
        Whether there is a template to register to.
    output : Path
        Folder for the prepared image, the transforms and the manifest.
    layout : Layout
    prepare, registration : settings
    """
    reason = screen_image(image)
    if reason is not None:
        write_manifest(output, {key: set_aside("atlas", reason)})
        return
    try:
        prepared, _ = prepare_image(read_image(image), None, prepare)
        entry = good(image=f"{key}_image.nii")
        if template:
            result = register(read_image(layout.template_image), prepared, registration)
            entry |= {
                "forward": f"{key}_forward.h5",
                "backward": f"{key}_backward.h5",
                "quality": result.quality,
            }
            write_transform(output / entry["forward"], result.forward)
            write_transform(output / entry["backward"], result.backward)
    except InputError as error:
        write_manifest(output, {key: set_aside("atlas", str(error))})
        return
    write_image(output / entry["image"], prepared)
    write_manifest(output, {key: entry})


def atlas_batch(
    members: Sequence[str],
    atlases: Sequence[Atlas],
    places: Places,
    output: Path,
    names: str | None,
    settings: AtlasSettings,
) -> None:
    """Carry every atlas to the members of a batch and fuse its labels with those of the others.

    Parameters
    ----------
    members : sequence of str
        Keys of the members to label.
    atlases : sequence of Atlas
    places : Places
        Of the members of the batch, all atlases and the template library.
    output : Path
        Folder for the manifest; the labels go where the layout of `places` says.
    names : str or None
        Table with the names of the labels.
    settings : AtlasSettings
    """
    table = LabelTable() if names is None else read_label_table(names)
    entries: dict[str, Entry] = {}
    for key in members:
        known = [places.prepared[key][1]]
        if settings.needs_template and known[0]["status"] == "ok":
            known.append(places.population[key][1])
        if known[-1]["status"] != "ok":
            entries[key] = known[-1]
            continue
        target = places.image(key)
        try:
            candidates = carry(key, target, atlases, places, settings)
        except InputError as error:
            entries[key] = set_aside("atlas", str(error))
            continue
        fused, confidence = fuse_candidates(target, candidates, settings)
        publish_fused(
            places.layout.fused(key, settings.name),
            places.layout.confidence(key, settings.name),
            (fused, confidence),
            candidates,
            table,
            settings,
        )
        entries[key] = good(registrations=candidates.registrations)
        LOGGER.info("%s: %d candidates fused", key, len(candidates.labels))
    write_manifest(output, entries)


def fuse_candidates(
    target: Image, candidates: Candidates, settings: AtlasSettings, method: str | None = None
) -> tuple[Image, Image]:
    """Labels and confidence, by the method of the settings or another."""
    return fuse(
        method or settings.fusion,
        target,
        candidates.images,
        candidates.labels,
        radius=settings.radius_vox,
        search=settings.search_vox,
        alpha=settings.alpha,
        beta=settings.beta,
    )


def publish_fused(
    file: Path,
    confidence_file: Path,
    fused: tuple[Image, Image],
    candidates: Candidates,
    table: LabelTable,
    settings: AtlasSettings,
    reference: str = "orig",
) -> None:
    """Write fused labels with their tables, and their confidence; `reference` is the image they lie on."""
    write_image(file, fused[0])
    write_image(confidence_file, fused[1], decimals=3)
    describe(
        confidence_file,
        f"Share of the weights for the label chosen (fusion: {settings.fusion})",
        SpatialReference=reference,
    )
    write_label_tables(file, structures_of(candidates.labels), table)
    describe(
        file,
        f"Labels carried from the atlases {settings.name} and fused",
        SpatialReference=reference,
        Manual=False,
        Atlas=settings.name,
        Sources=list(dict.fromkeys(candidates.sources)),
        Fusion=settings.fusion,
        Columns=LABEL_COLUMNS,
    )
