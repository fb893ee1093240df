"""Further images of each member: matched under the first one's transform, averaged to their own templates.

A member that lacks one is registered by those it has, and left out of that template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regcore.groupwise import (
    PartialSum,
    average,
    combine,
    deviation,
    partial_sum,
    sharpen,
    symmetrise,
    symmetrise_sum,
)
from regcore.image import Image
from regcore.io.arrays import link_file, read_arrays, write_arrays
from regcore.io.nifti import read_image, write_image
from regcore.preprocess import is_stripped
from regcore.registration.similarity import Channel
from regcore.resample import Interpolation, coverage, resample
from regcore.space import Grid
from regcore.study.manifest import Entry
from regcore.study.outputs import Layout, describe
from regcore.study.settings import ChannelSettings
from regcore.transforms import Transform, identity

PREFIX = "channel_"
SUMS = ".npz.gz"


def read_channels(folder: Path, entry: Entry) -> dict[str, Image]:
    """The further images of a prepared member, by name."""
    return {name: read_image(folder / file) for name, file in entry.get("channels", {}).items()}


def matched_channels(
    images: Mapping[str, Image], template: Path, settings: Mapping[str, ChannelSettings]
) -> list[Channel]:
    """Pairs to register together with the first images: what a member has and the template too.

    Parameters
    ----------
    images : mapping
        From `read_channels`.
    template : Path
        Folder of the template of the iteration before.
    settings : mapping
        Weight and measure of each.
    """
    return [
        Channel(read_image(target_file(template, name)), images[name], each.weight, each.metric)
        for name, each in settings.items()
        if name in images and target_file(template, name).exists()
    ]


def target_file(template: Path, name: str) -> Path:
    """What an image is registered to, in the folder of a template."""
    return template / f"target_{PREFIX}{name}.nii"


class ChannelSums:
    """Sums over the further images of the members of a batch, image by image."""

    def __init__(self) -> None:
        self.parts: dict[str, PartialSum] = {}

    def add(
        self,
        images: Mapping[str, Image],
        grid: Grid,
        transform: Transform,
        interpolation: Interpolation = "linear",
        weight: float = 1.0,
    ) -> dict[str, Image]:
        """Add the images of a member, and return them on the template's grid."""
        warped = {}
        for name, image in images.items():
            warped[name] = resample(image, grid, transform, interpolation)
            seen = coverage(image.grid, grid, transform)
            if weight == 0:
                continue
            # the shape is the first image's affair
            part = partial_sum([warped[name]], [seen], [identity()], [weight])
            self.parts[name] = combine([self.parts[name], part]) if name in self.parts else part
        return warped

    def write(self, folder: Path) -> None:
        """Write a file an image."""
        for name, part in self.parts.items():
            write_arrays(folder / f"{PREFIX}{name}{SUMS}", part.to_arrays())


def read_sums(folders: Sequence[Path], symmetric: bool = False) -> dict[str, PartialSum]:
    """Sums over all batches, by name in their order, as far as any member has such an image.

    With `symmetric`, of all members and their mirrors.
    """
    total: dict[str, PartialSum] = {}
    for folder in folders:
        for file in sorted(folder.glob(f"{PREFIX}*{SUMS}")):
            part = PartialSum.from_arrays(read_arrays(file))
            name = file.name.removeprefix(PREFIX).removesuffix(SUMS)
            total[name] = combine([total[name], part]) if name in total else part
    return {name: symmetrise_sum(part) if symmetric else part for name, part in sorted(total.items())}


def gather_channels(
    registered: Sequence[Path], update: Transform, output: Path, sharpen_copy: bool, symmetric: bool = False
) -> None:
    """Average the further images of all batches and move the averages as the first one's moves."""
    for name, partial in read_sums(registered, symmetric).items():
        template = resample(average(partial), partial.grid, update)
        # the update is symmetric but for its last digits
        write_target(output, name, symmetrise(template) if symmetric else template, sharpen_copy)


def write_target(output: Path, name: str, template: Image, sharpen_copy: bool) -> None:
    """Write what the next iteration registers the images of this name to."""
    write_image(target_file(output, name), sharpen(template) if sharpen_copy else template)


def keep_targets(previous: Path, output: Path) -> None:
    """Register the further images of the next iteration to what those of the last one were registered to."""
    for file in sorted(previous.glob(target_file(previous, "*").name)):
        link_file(file, output / file.name)


def publish_channel_templates(population: Sequence[Path], layout: Layout, symmetric: bool = False) -> None:
    """Publish the average of every further image with its variance."""
    for name, partial in read_sums(population, symmetric).items():
        image, file = average(partial), layout.of_template(f"{name}.nii.gz")
        common = {"SpatialReference": layout.uri(file), "SkullStripped": is_stripped(image)}
        write_image(file, image, decimals=5)
        describe(
            file,
            f"Average of {partial.count} members that have this image",
            **common,
            Units="normalised: foreground median 0.5",
            Symmetric=symmetric,
        )
        _publish_variance(layout, name, partial, common)


def publish_given_channels(population: Sequence[Path], layout: Layout, files: Mapping[str, Path]) -> None:
    """Publish the further images of a frozen template as they are, and how those of its members vary.

    Parameters
    ----------
    population : sequence of Path
        Folders of all batches.
    layout : Layout
    files : mapping
        The template's images by name.
    """
    sums = read_sums(population)
    for name, given in files.items():
        image, file = read_image(given), layout.of_template(f"{name}.nii.gz")
        common = {"SpatialReference": layout.uri(file), "SkullStripped": is_stripped(image)}
        count = sums[name].count if name in sums else 0
        write_image(file, image)
        describe(
            file, f"Frozen template; {count} members that have this image were registered to it", **common
        )
        if name in sums:
            _publish_variance(layout, name, sums[name], common)


def _publish_variance(layout: Layout, name: str, partial: PartialSum, common: Mapping[str, Any]) -> None:
    file, spread = layout.of_template(f"desc-variance_{name}.nii.gz"), deviation(partial)
    write_image(file, Image(np.square(spread.data), spread.grid), decimals=6)
    describe(file, f"Variance of the intensity over {partial.count} members that have this image", **common)


def publish_warped_channels(layout: Layout, key: str, warped: Mapping[str, Image]) -> None:
    """Publish the further images of a member in the template's space."""
    for name, image in warped.items():
        file = layout.member(key, f"space-{layout.template}_desc-preproc_{name}.nii.gz")
        write_image(file, image, decimals=4)
        describe(
            file,
            "Prepared image brought to the template",
            SpatialReference=layout.uri(layout.of_template(f"{name}.nii.gz")),
            Units="normalised: foreground median 0.5",
            SkullStripped=is_stripped(image),
        )
