"""A template that is given: frozen, or what a rebuild starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regcore.errors import InputError
from regcore.groupwise import (
    PartialSum,
    bias_certificate,
    convergence_row,
    deviation,
    foreground_box,
    sharpen,
    symmetrise,
)
from regcore.image import Image
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import read_image, read_mask, write_image
from regcore.io.tables import read_json, write_json
from regcore.preprocess import foreground_mask, normalise_intensity
from regcore.resample import resample
from regcore.study.channels import (
    ChannelSums,
    keep_targets,
    publish_given_channels,
    read_channels,
    write_target,
)
from regcore.study.dataset import cohorts, template_description
from regcore.study.gather import JUDGING, STATE, TEMPLATE, read_partials
from regcore.study.integrity import seal_folder, verify_folder
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, grid_to_dict, located, usable_members
from regcore.study.outputs import SOURCE, Layout, describe, resolution, sidecar
from regcore.study.overrides import NO_OVERRIDES, Override
from regcore.study.quality import similarity
from regcore.study.settings import DatasetSettings, QualitySettings
from regcore.study.stratify import Stratum
from regcore.study.template import finish, write_part
from regcore.study.weighing import QC, judge_members, weigh
from regcore.transforms import Affine, Transform, identity

OURS = (-0.5, 1.5)
"""Range of our own templates: 0 to 1, and a little more after cubic interpolation."""


def read_given(files: Mapping[str, Path]) -> tuple[Image, Image]:
    """Image and foreground of a given template, the intensities on the scale of the members.

    A template from elsewhere is brought to that scale; one of ours lies on it and stays as it is.
    """
    image = read_image(files["image"])
    mask = read_mask(files["mask"]) if "mask" in files else foreground_mask(image)
    return _scaled(image, mask), mask


def given_channels(files: Mapping[str, Path]) -> dict[str, Path]:
    """The further images among the files of a given template, by name."""
    return {name: file for name, file in files.items() if name not in ("image", "mask")}


def read_given_channels(files: Mapping[str, Path], mask: Image) -> Iterator[tuple[str, Image]]:
    """Names and further images of a given template, on the scale of the members and the grid of its mask.

    Raises
    ------
    InputError
        If an image shows nothing where the template lies.
    """
    for name, file in given_channels(files).items():
        image = read_image(file)
        inside = resample(mask, image.grid, None, "label")
        if not inside.data.any():
            raise InputError(
                f"{file}: expected an image that lies where the template does, found it elsewhere"
            )
        # as for members: a mask that is given holds for all images, otherwise each has its own
        image = _scaled(image, inside if "mask" in files else foreground_mask(image))
        yield name, image if image.grid.matches(mask.grid) else resample(image, mask.grid)


def _scaled(image: Image, mask: Image) -> Image:
    ours = image.data.min() >= OURS[0] and image.data.max() <= OURS[1]
    return image if ours else normalise_intensity(image, mask)


def given_template(
    files: Mapping[str, Path], grid_file: Path, output: Path, sharpen_copy: bool, symmetric: bool = False
) -> None:
    """Put a given template in the place of the first average.

    Parameters
    ----------
    files : mapping
        From `find_given`.
    grid_file : Path
        JSON file for the template's grid and the centre of its foreground.
    output : Path
        Folder as `gather_template` writes it.
    sharpen_copy : bool
        Whether the next iteration registers to a sharpened copy.
    symmetric : bool
        Whether it is to be mirror-symmetric about the middle plane of its grid.
    """
    image, mask = read_given(files)
    image = symmetrise(image) if symmetric else image
    write_json(grid_file, grid_to_dict(image.grid) | {"centre": foreground_box(mask)[2]})
    _write_state(output, image, sharpen_copy, [])
    for name, channel in read_given_channels(files, mask):
        write_target(output, name, symmetrise(channel) if symmetric else channel, sharpen_copy)
    judge_members(output / QC, [], {"stage": "given"}, JUDGING)
    seal_folder(output)


def start_batch(
    prepared: Sequence[Path],
    template: Path,
    grid_file: Path,
    output: Path,
    known: Mapping[str, Path],
    held: Sequence[str],
    overrides: Mapping[str, Override] = NO_OVERRIDES,
) -> None:
    """Lay the images of a batch on a given template: by transforms that are known, or by their centres.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of the prepared members of the batch.
    template : Path
        Folder of the given template.
    grid_file : Path
        From `given_template`.
    output : Path
        Folder for transforms, partial sums and the manifest.
    known : mapping
        Member to its transform to this template. One of another image, as its digest tells, is not used.
    held : sequence of str
        Stages in which the template stays as it is: members whose transforms are known sit them out.
    overrides : mapping
        Decisions of a person by member. Who is to be registered again does not sit out.
    """
    verify_folder(template)
    fixed = read_image(template / TEMPLATE)
    centre = np.array(read_json(grid_file)["centre"])
    entries: dict[str, Entry] = {}
    parts: list[PartialSum] = []
    further = ChannelSums()
    for key, (folder, entry) in located(prepared).items():
        entries[key] = entry
        if entry["status"] != "ok":
            continue
        image = read_image(folder / entry["image"])
        kept: dict[str, Any] = {}
        transform: Transform = Affine.from_parameters(translation=np.array(entry["box"][2]) - centre)
        same = key in known and read_json(sidecar(known[key])).get(SOURCE) == entry["digest"]
        if same:
            transform = read_transform(known[key])
        warped = resample(image, fixed.grid, transform)
        if same:
            value = similarity(fixed, warped)
            kept = {
                "held": list(held),
                "similarity_start": value,
                "quality": {"similarity_before": value, "similarity_after": value},
            }
            LOGGER.info("%s: starts from %s", key, known[key])
        weight = weigh(key, {}, overrides)
        entries[key] = good(**kept) | write_part(output, key, image, warped, transform, weight, parts)
        further.add(read_channels(folder, entry), fixed.grid, transform, weight=weight.value)
    further.write(output)
    finish(output, entries, parts)


def hold_template(
    registered: Sequence[Path],
    previous: Path,
    output: Path,
    iteration: int,
    stage: str,
    sharpen_copy: bool,
    quality: QualitySettings = JUDGING,
) -> None:
    """Take stock of an iteration that leaves the template as it is.

    Parameters
    ----------
    registered : sequence of Path
        Folders of all batches of this iteration.
    previous : Path
        Folder of the template that the members were registered to.
    output : Path
        Folder as `gather_template` writes it.
    iteration : int
    stage : str
        Name of the stage.
    sharpen_copy : bool
        Whether the next iteration registers to a sharpened copy.
    quality : QualitySettings
        How members are judged.
    """
    verify_folder(previous)
    template = read_image(previous / TEMPLATE)
    members = usable_members(registered, "template")
    similarities = [e["quality"]["similarity_after"] for _, _, e in members if e["weight"] > 0]
    partial = read_partials(registered, "template")
    row = convergence_row(iteration, stage, template, template, partial, identity(), similarities)
    rows = [*read_json(previous / STATE)["rows"], row | {"passed_through": False}]
    _write_state(output, template, sharpen_copy, rows)
    keep_targets(previous, output)
    about = {"iteration": iteration, "stage": stage}
    judge_members(output / QC, [(key, entry) for _, key, entry in members], about, quality)
    seal_folder(output)


def _write_state(output: Path, template: Image, sharpen_copy: bool, rows: list[dict[str, Any]]) -> None:
    write_image(output / TEMPLATE, template)
    write_image(output / "target.nii", sharpen(template) if sharpen_copy else template)
    write_transform(output / "update.h5", identity(), template.grid)
    write_json(output / STATE, {"rows": rows, "stopped": None})


def publish_given(
    population: Sequence[Path],
    template: Path,
    files: Mapping[str, Path],
    layout: Layout,
    about: DatasetSettings,
    strata: Sequence[Stratum] = (),
) -> None:
    """Publish a frozen template as it is, and how the members of this study lie about it.

    Parameters
    ----------
    population : sequence of Path
        Folders of all batches.
    template : Path
        Folder of the last iteration, for its table.
    files : mapping
        From `find_given`.
    layout : Layout
        Where the files of `Layout.published` go; variance and certificate are those of the members.
    about : DatasetSettings
        What the template says about itself where it brings no description.
    strata : sequence of Stratum
        Conditional templates beside it.
    """
    published = layout.published()
    partial = read_partials(population, "population")
    image = read_image(files["image"])
    mask = read_given(files)[1]
    spread = deviation(partial)
    common = {"SpatialReference": layout.reference, "Resolution": resolution(image.grid)}
    write_image(published["template"], image)
    describe(
        published["template"],
        f"Frozen template; {partial.count} members were registered to it",
        **common,
        Convergence=read_json(template / STATE)["rows"],
    )
    write_image(published["sharpened"], sharpen(image))
    describe(published["sharpened"], "Template, sharpened without overshoot", **common)
    write_image(published["variance"], Image(spread.data**2, spread.grid), decimals=6)
    describe(published["variance"], "Variance of the intensity over the members of this study", **common)
    write_image(published["mask"], mask)
    sources = [layout.reference]
    describe(published["mask"], "Foreground of the template", **common, Type="ROI", Sources=sources)
    publish_given_channels(population, layout, given_channels(files))
    found = bias_certificate(partial, mask)
    displacement, stretch = found["mean_displacement_rms_mm"], found["mean_log_affine_rms_mm"]
    write_json(
        published["certificate"],
        {
            "frozen": layout.template,
            "members": partial.count,
            "members_mean_displacement_mm": displacement,
            "members_mean_log_affine_mm": stretch,
            "verdict": f"frozen: the members' mean shape lies {displacement:.3g} mm (displacement) and "
            f"{stretch:.3g} mm (log affine) from the template, RMS over the foreground",
        },
    )
    own = files["image"].parent / published["description"].name
    text = read_json(own) if own.is_file() else template_description(layout.template, 0, image, about)
    write_json(published["description"], text | cohorts(strata))
