"""Stage 1: every image on its own is screened, masked and brought to one scale of intensities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regcore.errors import InputError
from regcore.groupwise import foreground_box
from regcore.image import Image
from regcore.io.cohort import Member
from regcore.io.files import file_digest
from regcore.io.nifti import read_image, read_mask, write_image
from regcore.io.screen import screen_member
from regcore.preprocess import correct_bias, foreground_mask, normalise_intensity
from regcore.study.config import PrepareSettings
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, grid_to_dict, set_aside, write_manifest


def prepare_image(image: Image, mask: Image | None, settings: PrepareSettings) -> tuple[Image, Image]:
    """Normalised image and its foreground mask.

    Parameters
    ----------
    image : Image
        As it was read.
    mask : Image or None
        The user's, on the grid of `image`; found from the image if None.
    settings : PrepareSettings

    Returns
    -------
    tuple of Image
        float32 intensities, uint8 mask, both on the grid of `image`.
    """
    if mask is None:
        mask = foreground_mask(image)
    if settings.n4:
        image = correct_bias(image, mask)
    image = normalise_intensity(image, mask, *settings.winsorise_percent)
    if settings.brain_only:
        image = Image(np.where(mask.data != 0, image.data, np.float32(0)), image.grid)
    return image, mask


def prepare_member(member: Member, output: Path, settings: PrepareSettings) -> None:
    """Prepare one member; if its image cannot be used it is set aside with the reason.

    Parameters
    ----------
    member : Member
    output : Path
        Folder for the image, its mask and the manifest.
    settings : PrepareSettings
    """
    entry = _prepare(member, output, settings)
    write_manifest(output, {member.key: entry})
    LOGGER.info("%s: %s", member.key, entry.get("reason", "prepared"))


def _prepare(member: Member, output: Path, settings: PrepareSettings) -> Entry:
    try:
        reason = screen_member(member)
        if reason is not None:
            return set_aside("prepare", reason)
        if settings.brain_only and member.mask is None:
            return set_aside("prepare", "expected a mask of the brain (prepare.brain_only), found none")
        mask = None if member.mask is None else read_mask(member.mask)
        image, mask = prepare_image(read_image(member.image), mask, settings)
        box = foreground_box(mask)
    except InputError as error:
        return set_aside("prepare", str(error).removeprefix(f"{member.image}: "))
    files: dict[str, Any] = {"image": f"{member.key}_image.nii", "mask": f"{member.key}_mask.nii.gz"}
    write_image(output / files["image"], image)
    write_image(output / files["mask"], mask)
    digest = file_digest(member.image)
    return good(**files, grid=grid_to_dict(image.grid), box=box.tolist(), digest=digest)
