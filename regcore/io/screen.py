"""Whether the images of a member can be used at all, decided before any work is spent on them."""

from __future__ import annotations

import os

import numpy as np

from regcore.errors import InputError, unnamed
from regcore.io.cohort import Member
from regcore.io.nifti import read_grid, read_image, read_labels, read_mask

GRID_TOLERANCE_MM = 0.1
FEWEST_VOXELS = 8


def screen_image(path: str | os.PathLike[str]) -> str | None:
    """Say why an image cannot be used, or None if it can.

    Parameters
    ----------
    path : path
        Image file, read whole.

    Returns
    -------
    str or None
        One line: the file is missing, empty, damaged or foreign, has several volumes, holds NaN or infinity,
        has the same value everywhere, or has fewer than 8 voxels along an axis in the plane.

    Examples
    --------
    >>> screen_image("nowhere.nii.gz")
    'expected a file, found nothing there'
    """
    try:
        data = read_image(path).data
    except InputError as error:
        return unnamed(error, path)
    if sorted(data.shape)[1] < FEWEST_VOXELS:
        return f"expected at least {FEWEST_VOXELS} voxels along two axes, found shape {data.shape}"
    lowest, highest = float(data.min()), float(data.max())
    if lowest == highest:
        return f"expected an image, found the value {lowest:g} in every voxel"
    return None


def screen_member(member: Member) -> str | None:
    """Say why a member cannot be used, or None if it can: its image, mask and labels.

    Parameters
    ----------
    member : Member
        Its mask and labels must lie on the grid of its image and not be empty.

    Returns
    -------
    str or None
        One line.
    """
    reason = screen_image(member.image)
    if reason is not None:
        return reason
    grid = read_grid(member.image)
    for role, path, read in (("mask", member.mask, read_mask), ("labels", member.labels, read_labels)):
        if path is None:
            continue
        try:
            image = read(path)
        except InputError as error:
            return f"{role}: {unnamed(error, path)}"
        if not image.grid.matches(grid, GRID_TOLERANCE_MM):
            return f"{role}: expected the grid of the image {grid.shape}, found another {image.grid.shape}"
        if not np.any(image.data):
            return f"{role}: expected voxels other than 0, found none"
    return None
