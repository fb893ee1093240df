"""Stage 4: labels of atlases, carried to the members and fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.cohort import read_label_names
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.screen import screen_image
from regcore.io.tables import write_json, write_table
from regcore.labels.fuse import local_weighted_vote, majority_vote
from regcore.labels.propagate import propagate
from regcore.registration import RegistrationSettings, register
from regcore.space import Grid
from regcore.study.config import AtlasSettings, PrepareSettings
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, located, set_aside, write_manifest
from regcore.study.outputs import Layout, sidecar
from regcore.study.plan import Atlas
from regcore.study.prepare import prepare_image
from regcore.study.quality import similarity
from regcore.transforms import Chain, Transform, peel, split

LABEL_COLUMNS = {
    "index": {"Description": "Value in the label image"},
    "name": {"Description": "Name of the structure"},
}


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
    prepared: Sequence[Path],
    population: Sequence[Path],
    output: Path,
    layout: Layout,
    names: str | None,
    settings: AtlasSettings,
) -> None:
    """Carry every atlas to the members of a batch and fuse its labels with those of the others.

    Parameters
    ----------
    members : sequence of str
        Keys of the members to label.
    atlases : sequence of Atlas
    prepared : sequence of Path
        Folders of the members of the batch and of all atlases, prepared.
    population : sequence of Path
        Folders of the batches of all of them, where the template is used.
    output : Path
        Folder for the manifest; the labels go where `layout` says.
    layout : Layout
    names : str or None
        Table with the names of the labels.
    settings : AtlasSettings
    """
    images, placed = located(prepared), located(population)
    entries: dict[str, Entry] = {}
    for key in members:
        folder, original = images[key]
        entry = original
        if entry["status"] == "ok" and settings.needs_template:
            entry = placed[key][1]
        if entry["status"] != "ok":
            entries[key] = entry
            continue
        target = read_image(folder / original["image"])
        carried: list[tuple[Image, Image]] = []
        rows: list[dict[str, Any]] = []
        for atlas in atlases:
            if atlas.key == key:
                continue
            try:
                if atlas.key in placed and placed[atlas.key][1]["status"] != "ok":
                    raise InputError(f"expected a usable image, found: {placed[atlas.key][1]['reason']}")
                labels, image, quality = _carry(atlas, images[atlas.key], key, target, layout, settings)
            except InputError as error:
                LOGGER.warning("%s: atlas %s left out: %s", key, atlas.key, error)
                continue
            carried.append((labels, image))
            rows.append({"atlas": atlas.key, **quality})
            LOGGER.info("%s <- %s: similarity %.4f", key, atlas.key, quality["similarity_after"])
        if not carried:
            entries[key] = set_aside("atlas", "expected at least one usable atlas, found none")
            continue
        _publish(layout, key, target, carried, names, settings, [row["atlas"] for row in rows])
        entries[key] = good(registrations=rows)
    write_manifest(output, entries)


def _carry(
    atlas: Atlas, place: tuple[Path, Entry], key: str, target: Image, layout: Layout, settings: AtlasSettings
) -> tuple[Image, Image, Mapping[str, Any]]:
    """Labels and image of an atlas on a member's grid, and how well the registration went."""
    folder, entry = place
    if entry["status"] != "ok":
        raise InputError(f"atlas {atlas.key}: expected a usable image, found: {entry['reason']}")
    image, labels = read_image(folder / entry["image"]), read_labels(atlas.labels)
    start: Transform | None = None
    if settings.needs_template:
        of_atlas = layout.forward(atlas.key) if atlas.is_member else folder / entry["forward"]
        if not of_atlas.exists():
            raise InputError(f"atlas {atlas.key}: expected a transform to the template, found none")
        start = through_template(read_transform(of_atlas), read_transform(layout.backward(key)), target.grid)
    if settings.route == "template":
        assert start is not None
        moved, warped = propagate(labels, image, target.grid, start)
        return moved, warped, {"similarity_after": similarity(target, warped)}
    result = register(target, image, settings.registration, initial=start)
    moved, warped = propagate(labels, image, target.grid, result.forward)
    return moved, warped, result.quality


def through_template(atlas: Transform, member_inverse: Transform, grid: Grid) -> Chain:
    """Transform from a member to an atlas by way of the template, on the member's grid.

    Parameters
    ----------
    atlas : Transform
        World mm of the template to world mm of the atlas, an affine applied last.
    member_inverse : Transform
        World mm of the member to world mm of the template, an affine applied first.
    grid : Grid
        Of the member.

    Returns
    -------
    Chain
        ``(Affine, Displacement)``: the affines of both stay out of the displacement, which is then small.
    """
    outer, _ = peel(atlas)
    # the inverse of the member's transform ends in its affine: read it off the inverse of the inverse
    first, _ = peel(Chain(tuple(reversed(Chain((member_inverse,)).transforms))))
    return Chain(split(Chain((atlas, member_inverse)), grid, affine=outer @ first))


def _publish(
    layout: Layout,
    key: str,
    target: Image,
    carried: Sequence[tuple[Image, Image]],
    names: str | None,
    settings: AtlasSettings,
    sources: Sequence[str],
) -> None:
    labels, images = [pair[0] for pair in carried], [pair[1] for pair in carried]
    if settings.fusion == "local" and len(carried) > 1:
        fused, confidence = local_weighted_vote(target, images, labels, settings.radius_vox)
    else:
        fused, confidence = majority_vote(labels)
    file = layout.fused(key, settings.name)
    write_image(file, fused)
    write_image(
        layout.member(key, f"atlas-{settings.name}_desc-confidence_probseg.nii.gz"), confidence, decimals=3
    )
    known = {} if names is None else read_label_names(names)
    present = sorted({int(value) for image in labels for value in _values(image)})
    frame = pd.DataFrame(
        {"index": present, "name": [known.get(value, f"label-{value}") for value in present]}
    )
    write_table(file.with_name(file.name.removesuffix(".nii.gz") + ".tsv"), frame)
    write_json(
        sidecar(file),
        {
            "Manual": False,
            "Atlas": settings.name,
            "Sources": list(sources),
            "Fusion": settings.fusion,
            "Columns": LABEL_COLUMNS,
        },
    )


def _values(labels: Image) -> list[int]:
    return [int(value) for value in pd.unique(labels.data.ravel()) if value > 0]
