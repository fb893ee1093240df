"""Stage 1: every image on its own is screened, masked and brought to one scale of intensities."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from regcore.errors import InputError, unnamed
from regcore.groupwise import foreground_box
from regcore.image import Image
from regcore.io.cohort import Member
from regcore.io.nifti import read_image, read_mask, write_image
from regcore.io.screen import screen_image, screen_member
from regcore.preprocess import correct_bias, foreground_mask, normalise_intensity
from regcore.resample import resample
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, content_digest, good, grid_to_dict, set_aside, write_manifest
from regcore.study.settings import PrepareSettings


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


def prepare_channels(
    member: Member, mask: Image, output: Path, settings: PrepareSettings
) -> dict[str, dict[str, str]]:
    """Prepare the further images of a member; those that cannot be used are left out.

    Parameters
    ----------
    member : Member
    mask : Image
        Foreground of its first image. The user's holds for all images; otherwise each has its own.
    output : Path
        Folder of the prepared member.
    settings : PrepareSettings

    Returns
    -------
    dict
        For the member's manifest: `channels` (name to file) and `problems` (name to reason).
    """
    found: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name, file in member.channels.items():
        try:
            image = _channel(file, mask, member.mask is not None, settings)
        except InputError as error:
            problems[name] = unnamed(error, file)
            continue
        found[name] = f"{member.key}_{name}_image.nii.gz"
        write_image(output / found[name], image)
    return {"channels": found, "problems": problems} if member.channels else {}


def _channel(file: Path, mask: Image, given: bool, settings: PrepareSettings) -> Image:
    reason = screen_image(file)
    if reason is not None:
        raise InputError(f"{file}: {reason}")
    image = read_image(file)
    inside = resample(mask, image.grid, None, "label")
    if not inside.data.any():
        raise InputError(f"{file}: expected an image that lies where the first does, found it elsewhere")
    return prepare_image(image, inside if given else None, settings)[0]


def prepare_batch(members: Iterable[Member], output: Path, settings: PrepareSettings) -> None:
    """Prepare images; one that cannot be used is set aside with the reason.

    Parameters
    ----------
    members : iterable of Member
    output : Path
        Folder for the images, their masks and the manifest.
    settings : PrepareSettings
    """
    entries: dict[str, Entry] = {}
    for member in members:
        entry = entries[member.key] = _prepare(member, output, settings)
        LOGGER.info("%s: %s", member.key, entry.get("reason", "prepared"))
    write_manifest(output, entries)


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
        return set_aside("prepare", unnamed(error, member.image))
    files: dict[str, Any] = {"image": f"{member.key}_image.nii.gz", "mask": f"{member.key}_mask.nii.gz"}
    write_image(output / files["image"], image)
    write_image(output / files["mask"], mask)
    more = prepare_channels(member, mask, output, settings)
    digest = content_digest(image)
    return good(**files, digest=digest, grid=grid_to_dict(image.grid), box=box.tolist(), **more)
