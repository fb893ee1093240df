"""Stage 2: the template's grid, and one iteration of registering a batch to the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.groupwise import PartialSum, average_grid, combine, partial_sum, update_transform
from regcore.image import Image
from regcore.io.arrays import link_files, read_arrays, write_arrays
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import read_image
from regcore.io.tables import read_json, write_json
from regcore.preprocess import foreground_mask
from regcore.registration import register
from regcore.resample import coverage, resample
from regcore.study.config import TemplateStage
from regcore.study.job import LOGGER
from regcore.study.manifest import (
    Entry,
    good,
    grid_from_dict,
    grid_to_dict,
    located,
    read_manifest,
    set_aside,
    usable_members,
    write_manifest,
)
from regcore.study.overrides import NO_OVERRIDES, Override, retry_settings
from regcore.study.quality import affine_quality, mask_overlap
from regcore.study.weighing import QC, Weight, read_weights, weigh
from regcore.transforms import Affine, Chain, Transform

PARTIAL = "partial_sum.npz"
DRIFT = "drift.npz"
PASSED = "passed.json"


def template_grid(prepared: Sequence[Path], output: Path, spacing_mm: float | None) -> None:
    """Write the grid that holds every foreground of the cohort, and the point the images are centred on.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of all prepared members.
    output : Path
        JSON file with `shape`, `affine` and `centre` (world mm).
    spacing_mm : float or None
        Voxel size; the mean over the cohort if None.
    """
    members = usable_members(prepared, "cohort")
    boxes = [np.array(entry["box"]) for _, _, entry in members]
    grid = average_grid([grid_from_dict(entry["grid"]) for _, _, entry in members], boxes, spacing_mm)
    # the grid is laid around the mean centre of mass
    centre = np.stack([box[2] for box in boxes]).mean(axis=0)
    write_json(output, grid_to_dict(grid) | {"centre": centre})
    LOGGER.info("%d members, template of %s voxels of %s mm", len(members), grid.shape, grid.spacing.round(3))


def centre_batch(
    prepared: Sequence[Path], grid_file: Path, output: Path, overrides: Mapping[str, Override] = NO_OVERRIDES
) -> None:
    """Lay the images of a batch on the template's grid by their centres of mass.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of the prepared members of the batch.
    grid_file : Path
        From `template_grid`.
    output : Path
        Folder for transforms, partial sums and the manifest.
    overrides : mapping
        Decisions of a person by member.
    """
    values = read_json(grid_file)
    grid, centre = grid_from_dict(values), np.array(values["centre"])
    entries: dict[str, Entry] = {}
    parts: list[PartialSum] = []
    for key, (folder, entry) in located(prepared).items():
        entries[key] = entry
        if entry["status"] == "ok":
            shift = Affine.from_parameters(translation=np.array(entry["box"][2]) - centre)
            image = read_image(folder / entry["image"])
            weight = weigh(key, {}, overrides)
            warped = resample(image, grid, shift)
            entries[key] = _write(output, key, image, warped, shift, weight, parts)
    _finish(output, entries, parts)


def register_batch(
    prepared: Sequence[Path],
    previous: Path,
    template: Path,
    output: Path,
    stage: TemplateStage,
    overrides: Mapping[str, Override] = NO_OVERRIDES,
) -> None:
    """Register the images of a batch to a template, starting from the iteration before.

    Once the template's shape has stopped moving within a stage, the iteration before is passed through.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of the prepared members of the batch.
    previous : Path
        Folder of this batch in the iteration before.
    template : Path
        Folder of the template of the iteration before; its ``qc.tsv`` says what every member weighs now.
    output : Path
        Folder for transforms, partial sums and the manifest.
    stage : TemplateStage
        Settings of the registration.
    overrides : mapping
        Decisions of a person by member.
    """
    state = read_json(template / "convergence.json")
    if state["stopped"] == stage.name:
        link_files(previous, output)
        write_json(output / PASSED, {"stage": stage.name, "same_as": previous.parent.name})
        LOGGER.info("stage %s has converged: iteration %s passes through", stage.name, previous.parent.name)
        return
    fixed = read_image(template / "target.nii")
    update = Chain((read_transform(template / "update.h5"),))
    common = read_drift(template, stage.name)
    mask, decided = foreground_mask(fixed), read_weights(template / QC)
    images = located(prepared)
    entries: dict[str, Entry] = {}
    parts: list[PartialSum] = []
    for key, before in read_manifest(previous).items():
        entries[key] = before
        if before["status"] != "ok":
            continue
        folder, image = images[key]
        moving = read_image(folder / image["image"])
        start: Transform | None = update_transform(
            read_transform(previous / before["transform"]), update, fixed.grid
        )
        settings, override = stage.registration, overrides.get(key)
        if override is not None and override.registration is not None:
            settings = retry_settings(settings, override.registration)
            # where a start was wrong, only a linear stage without it can tell
            start = None if settings.linear else start
        try:
            result = register(fixed, moving, settings, initial=start, drift=common)
            warped = resample(moving, fixed.grid, result.forward)
            measures = {"mask_dice": mask_overlap(mask, warped), **affine_quality(result.forward, fixed)}
            weight = weigh(key, decided, overrides)
            entry = _write(output, key, moving, warped, result.forward, weight, parts)
        except InputError as error:
            entries[key] = set_aside(f"template, {stage.name}", str(error))
            LOGGER.warning("%s: %s", key, error)
            continue
        first = before.get("similarity_start", result.quality["similarity_before"])
        entries[key] = entry | {"quality": result.quality | measures, "similarity_start": first}
        LOGGER.info(
            "%s: similarity %.4f -> %.4f in %.1f s",
            key, result.quality["similarity_before"], result.quality["similarity_after"], result.seconds,
        )  # fmt: skip
    _finish(output, entries, parts)


def read_drift(template: Path, stage: str) -> npt.NDArray[np.float32] | None:
    """What the registrations to a template take out of their steps; nothing in the first of a stage."""
    file = template / DRIFT
    return read_arrays(file).get(stage) if file.exists() else None


def add_member(
    parts: list[PartialSum], original: Image, warped: Image, transform: Transform, weight: Weight
) -> None:
    """Add a member to the sums of its batch, as much as it weighs.

    Parameters
    ----------
    parts : list of PartialSum
        Empty, or the sum so far, which is replaced.
    original : Image
        Before it was warped, for what it covers.
    warped : Image
        On the template's grid.
    transform : Transform
        World mm of the template to world mm of the member.
    weight : Weight
        A member that weighs nothing is not there at all.
    """
    if weight.value > 0:
        covered = coverage(original.grid, warped.grid, transform)
        part = partial_sum([warped], [covered], [transform], [weight.value])
        # added one by one, so that a large batch needs no more memory than two members
        parts[:] = [combine([*parts, part])]


def _write(
    output: Path,
    key: str,
    original: Image,
    warped: Image,
    transform: Transform,
    weight: Weight,
    parts: list[PartialSum],
) -> Entry:
    add_member(parts, original, warped, transform, weight)
    name = f"{key}_xfm.h5"
    write_transform(output / name, transform)
    return good(transform=name, **weight.entry)


def _finish(output: Path, entries: dict[str, Entry], parts: list[PartialSum]) -> None:
    if parts:
        write_arrays(output / PARTIAL, parts[0].to_arrays())
    write_manifest(output, entries)
