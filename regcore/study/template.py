"""Stage 2: the template's grid, and one iteration of registering a batch to the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

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
from regcore.space import Grid
from regcore.study.channels import ChannelSums, matched_channels, read_channels
from regcore.study.integrity import verify_folder
from regcore.study.job import LOGGER
from regcore.study.manifest import (
    Entry,
    by_content,
    good,
    grid_from_dict,
    grid_to_dict,
    located,
    nobody,
    read_manifest,
    set_aside,
    usable_members,
    write_manifest,
)
from regcore.study.overrides import NO_OVERRIDES, Override, retry_settings
from regcore.study.quality import affine_quality, mask_overlap
from regcore.study.settings import ChannelSettings, TemplateStage
from regcore.study.weighing import QC, Weight, read_weights, weigh
from regcore.transforms import Affine, Chain, Transform

PARTIAL = "partial_sum.npz.gz"
DRIFT = "drift.npz"
PASSED = "passed.json"
NO_CHANNELS: Mapping[str, ChannelSettings] = MappingProxyType({})


def template_grid(
    prepared: Sequence[Path],
    output: Path,
    spacing_mm: float | None,
    symmetric: bool = False,
    subject: bool = False,
) -> None:
    """Write the grid that holds every foreground of the cohort, and the point the images are centred on.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of all prepared members.
    output : Path
        JSON file with `shape`, `affine` and `centre` (world mm).
    spacing_mm : float or None
        Voxel size; the mean over the cohort if None.
    symmetric : bool
        Lay the grid's middle plane through the centres, with equal room on the left and the right.
    subject : bool
        Whether the images are the sessions of one subject. They are then read in the order of their content,
        so that the result does not depend on which session comes first; and if none is usable the file says
        so, and later stages too, for another subject's template is not to fail with it.
    """
    if subject:
        prepared = by_content(prepared)
        if nobody(prepared):
            write_json(output, {"empty": True})
            return
    members = usable_members(prepared, "cohort")
    boxes = [np.array(entry["box"]) for _, _, entry in members]
    for lower, upper, middle in boxes if symmetric else ():
        reach = max(middle[0] - lower[0], upper[0] - middle[0])
        lower[0], upper[0] = middle[0] - reach, middle[0] + reach
    grid = average_grid([grid_from_dict(entry["grid"]) for _, _, entry in members], boxes, spacing_mm)
    # the grid is laid around the mean centre of mass
    centre = np.stack([box[2] for box in boxes]).mean(axis=0)
    write_json(output, grid_to_dict(grid) | {"centre": centre})
    LOGGER.info("%d members, template of %s voxels of %s mm", len(members), grid.shape, grid.spacing.round(3))


def centre_batch(
    prepared: Sequence[Path],
    grid_file: Path,
    output: Path,
    subject: bool = False,
    overrides: Mapping[str, Override] = NO_OVERRIDES,
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
    subject : bool
        As for `template_grid`. All later stages keep the order of this one.
    overrides : mapping
        Decisions of a person by member.
    """
    if subject:
        prepared = by_content(prepared)
    values = read_json(grid_file)
    if values.get("empty"):
        finish(output, {key: entry for key, (_, entry) in located(prepared).items()}, [])
        return
    grid, centre = grid_from_dict(values), np.array(values["centre"])
    entries: dict[str, Entry] = {}
    parts: list[PartialSum] = []
    further = ChannelSums()
    for key, (folder, entry) in located(prepared).items():
        entries[key] = entry
        if entry["status"] == "ok":
            shift = Affine.from_parameters(translation=np.array(entry["box"][2]) - centre)
            image = read_image(folder / entry["image"])
            weight = weigh(key, {}, overrides)
            warped = resample(image, grid, shift)
            entries[key] = write_part(output, key, image, warped, shift, weight, parts)
            further.add(read_channels(folder, entry), grid, shift, weight=weight.value)
    if subject and not parts:
        reason = "expected a session with a weight above 0, found none (see qc.overrides)"
        entries = {
            key: set_aside("sessions", reason) if entry["status"] == "ok" else entry
            for key, entry in entries.items()
        }
    further.write(output)
    finish(output, entries, parts)


def register_batch(
    prepared: Sequence[Path],
    previous: Path,
    template: Path,
    output: Path,
    stage: TemplateStage,
    channels: Mapping[str, ChannelSettings] = NO_CHANNELS,
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
    channels : mapping
        Weight and measure of the further images of each member.
    overrides : mapping
        Decisions of a person by member.
    """
    verify_folder(template)
    state = read_json(template / "convergence.json")
    if state.get("empty"):
        link_files(previous, output)
        return
    if state["stopped"] == stage.name:
        link_files(previous, output)
        write_json(output / PASSED, {"stage": stage.name, "same_as": previous.parent.name})
        LOGGER.info("stage %s has converged: iteration %s passes through", stage.name, previous.parent.name)
        return
    fixed = read_image(template / "target.nii")
    update = Chain((read_transform(template / "update.h5", sealed=True),))
    common = read_drift(template, stage.name)
    mask, decided = foreground_mask(fixed), read_weights(template / QC)
    images = located(prepared)
    entries: dict[str, Entry] = {}
    parts: list[PartialSum] = []
    further = ChannelSums()
    for key, before in read_manifest(previous).items():
        entries[key] = before
        if before["status"] != "ok":
            continue
        folder, image = images[key]
        moving, others = read_image(folder / image["image"]), read_channels(folder, image)
        known = read_transform(previous / before["transform"], sealed=True)
        weight, override = weigh(key, decided, overrides), overrides.get(key)
        if stage.name in before.get("held", ()) and (override is None or override.registration is None):
            # its transform to a given template is known, and the template stays as it is
            warped = resample(moving, fixed.grid, known)
            measures = {"mask_dice": mask_overlap(mask, warped), **affine_quality(known, fixed)}
            entries[key] = before | write_part(output, key, moving, warped, known, weight, parts)
            entries[key]["quality"] = before["quality"] | measures
            further.add(others, fixed.grid, known, weight=weight.value)
            continue
        matched = matched_channels(others, template, channels)
        updated = update_transform(known, update, fixed.grid)
        start: Transform | None = updated
        settings = stage.registration
        if override is not None and override.registration is not None:
            settings = retry_settings(settings, override.registration)
            # where a start was wrong, only a linear stage without it can tell
            start = None if settings.linear else start
        try:
            result = register(fixed, moving, settings, initial=start, drift=common, channels=matched)
            warped = resample(moving, fixed.grid, result.forward)
            measures = {"mask_dice": mask_overlap(mask, warped), **affine_quality(result.forward, fixed)}
            entry = write_part(output, key, moving, warped, result.forward, weight, parts)
        except InputError as error:
            entries[key] = set_aside(f"template, {stage.name}", str(error))
            LOGGER.warning("%s: %s", key, error)
            continue
        further.add(others, fixed.grid, result.forward, weight=weight.value)
        first = before.get("similarity_start", result.quality["similarity_before"])
        entries[key] = entry | {"quality": result.quality | measures, "similarity_start": first}
        if stage.registration.deformable is None:
            entries[key]["motion_mm"] = _motion(updated, result.forward, fixed.grid)
        LOGGER.info(
            "%s: similarity %.4f -> %.4f in %.1f s",
            key, result.quality["similarity_before"], result.quality["similarity_after"], result.seconds,
        )  # fmt: skip
    further.write(output)
    finish(output, entries, parts)


def _motion(before: Transform, after: Transform, grid: Grid) -> float:
    """How far a linear stage moved a member, RMS over a lattice of points, mm."""
    axes = [np.linspace(0, count - 1, 5) for count in grid.shape]
    points = grid.to_world(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))
    return float(np.sqrt(np.mean(np.sum((after(points) - before(points)) ** 2, axis=-1))))


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


def write_part(
    output: Path,
    key: str,
    original: Image,
    warped: Image,
    transform: Transform,
    weight: Weight,
    parts: list[PartialSum],
) -> Entry:
    """Write a member's transform and add what it brings; returns its entry."""
    add_member(parts, original, warped, transform, weight)
    name = f"{key}_xfm.h5"
    write_transform(output / name, transform)
    return good(transform=name, **weight.entry)


def finish(output: Path, entries: dict[str, Entry], parts: list[PartialSum]) -> None:
    """Write what a batch adds up to, then its manifest."""
    if parts:
        write_arrays(output / PARTIAL, parts[0].to_arrays())
    write_manifest(output, entries)
