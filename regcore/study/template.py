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
from regcore.registration import register
from regcore.resample import coverage, resample
from regcore.space import Grid
from regcore.study.channels import ChannelSums, matched_channels, read_channels
from regcore.study.config import ChannelSettings, TemplateStage
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
from regcore.transforms import Affine, Chain, Transform

PARTIAL = "partial_sum.npz"
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


def centre_batch(prepared: Sequence[Path], grid_file: Path, output: Path, subject: bool = False) -> None:
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
            entries[key] = write_part(output, key, shift, part_of(image, grid, shift), parts)
            further.add(read_channels(folder, entry), grid, shift)
    further.write(output)
    finish(output, entries, parts)


def register_batch(
    prepared: Sequence[Path],
    previous: Path,
    template: Path,
    output: Path,
    stage: TemplateStage,
    channels: Mapping[str, ChannelSettings] = NO_CHANNELS,
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
        Folder of the template of the iteration before.
    output : Path
        Folder for transforms, partial sums and the manifest.
    stage : TemplateStage
        Settings of the registration.
    channels : mapping
        Weight and measure of the further images of each member.
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
        if stage.name in before.get("held", ()):
            # its transform to a given template is known, and the template stays as it is
            write_part(output, key, known, part_of(moving, fixed.grid, known), parts)
            further.add(others, fixed.grid, known)
            continue
        matched = matched_channels(others, template, channels)
        start = update_transform(known, update, fixed.grid)
        try:
            result = register(
                fixed, moving, stage.registration, initial=start, drift=common, channels=matched
            )
            part = part_of(moving, fixed.grid, result.forward)
        except InputError as error:
            entries[key] = set_aside(f"template, {stage.name}", str(error))
            LOGGER.warning("%s: %s", key, error)
            continue
        further.add(others, fixed.grid, result.forward)
        first = before.get("similarity_start", result.quality["similarity_before"])
        entries[key] = write_part(output, key, result.forward, part, parts) | {
            "quality": result.quality,
            "similarity_start": first,
        }
        if stage.registration.deformable is None:
            entries[key]["motion_mm"] = _motion(start, result.forward, fixed.grid)
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


def part_of(image: Image, grid: Grid, transform: Transform) -> PartialSum:
    """What one member adds to the average."""
    warped = resample(image, grid, transform)
    return partial_sum([warped], [coverage(image.grid, grid, transform)], [transform])


def write_part(
    output: Path, key: str, transform: Transform, part: PartialSum, parts: list[PartialSum]
) -> Entry:
    """Write a member's transform and add what it brings; returns its entry."""
    name = f"{key}_xfm.h5"
    write_transform(output / name, transform)
    # added one by one, so that a large batch needs no more memory than two members
    parts[:] = [combine([*parts, part])]
    return good(transform=name)


def finish(output: Path, entries: dict[str, Entry], parts: list[PartialSum]) -> None:
    """Write what a batch adds up to, then its manifest."""
    if parts:
        write_arrays(output / PARTIAL, parts[0].to_arrays())
    write_manifest(output, entries)
