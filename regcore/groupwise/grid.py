"""The grid of a template: the average header of a cohort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.space import Grid

Array = npt.NDArray[np.float64]

MARGIN_VOX = 3
"""Voxels left around the foregrounds, so that filters and warps see background on every side."""


def foreground_box(mask: Image) -> Array:
    """World box of a foreground and its centre of mass.

    Parameters
    ----------
    mask : Image
        Foreground above 0.

    Returns
    -------
    array, shape (3, 3)
        Lower corner, upper corner and centre of mass, world RAS+ mm.

    Raises
    ------
    InputError
        If the mask is empty.

    Examples
    --------
    >>> box = foreground_box(Image(np.ones((3, 3, 3), np.uint8), Grid((3, 3, 3), np.eye(4))))
    >>> box.tolist()
    [[-0.5, -0.5, -0.5], [2.5, 2.5, 2.5], [1.0, 1.0, 1.0]]
    """
    voxels = np.argwhere(mask.data > 0)
    if len(voxels) == 0:
        raise InputError("mask: expected a foreground, found no voxel above 0")
    points = mask.grid.to_world(voxels)
    reach = np.abs(mask.grid.affine[:3, :3]).sum(axis=1) / 2
    return np.stack([points.min(axis=0) - reach, points.max(axis=0) + reach, points.mean(axis=0)])


def average_grid(
    grids: Sequence[Grid], boxes: Sequence[Array], spacing_mm: float | Sequence[float] | None = None
) -> Grid:
    """Average header of a cohort: mean spacing, mean position, and room for every foreground.

    Parameters
    ----------
    grids : sequence of Grid
        One a member.
    boxes : sequence of array, shape (3, 3)
        `foreground_box` of each member. Foregrounds are laid on one another by their centres of mass.
    spacing_mm : float or sequence of 3 float, optional
        Voxel size, for the three axes of the result; the geometric mean of the cohort's where not given.

    Returns
    -------
    Grid
        Axes along the world's R, A and S. Where every member is one slice, the singleton axis comes last.

    Raises
    ------
    InputError
        If there is no member, the numbers differ, or the spacing is not positive.

    Examples
    --------
    >>> grid = Grid((10, 10, 10), np.diag([-2.0, 2, 2, 1]))
    >>> box = foreground_box(Image(np.ones(grid.shape, np.uint8), grid))
    >>> average_grid([grid], [box]).shape
    (16, 16, 16)
    """
    if not grids or len(grids) != len(boxes):
        raise InputError(f"grid: expected a box for every grid, found {len(grids)} and {len(boxes)}")
    spacings = np.stack([_world_spacing(grid) for grid in grids])
    mean_spacing = np.exp(np.log(spacings).mean(axis=0))
    axes = _axis_order(grids)
    if spacing_mm is not None:
        wanted = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), (3,))
        if not (np.isfinite(wanted).all() and (wanted > 0).all()):
            raise InputError(f"spacing_mm: expected positive numbers, found {spacing_mm}")
        mean_spacing[axes] = wanted
    stacked = np.stack([np.asarray(box, dtype=np.float64) for box in boxes])
    middle = stacked[:, 2].mean(axis=0)
    lower = (stacked[:, 0] - stacked[:, 2]).min(axis=0)
    upper = (stacked[:, 1] - stacked[:, 2]).max(axis=0)
    shape = np.ceil((upper - lower) / mean_spacing - 1e-6).astype(int) + 2 * MARGIN_VOX
    if all(grid.is_2d for grid in grids):
        shape[axes[2]] = 1
    affine = np.eye(4)
    affine[:3, :3] = np.diag(mean_spacing)[:, axes]
    first = middle + (lower + upper) / 2 - mean_spacing * (shape - 1) / 2
    affine[:3, 3] = first
    return Grid((int(shape[axes[0]]), int(shape[axes[1]]), int(shape[axes[2]])), affine)


def _world_spacing(grid: Grid) -> Array:
    """Spacing along R, A and S of the voxel axes nearest to them."""
    spacing = np.empty(3)
    spacing[_nearest_axes(grid)] = grid.spacing
    return spacing


def _nearest_axes(grid: Grid) -> list[int]:
    """World axis nearest to each voxel axis, no two the same."""
    cosines = np.abs(grid.affine[:3, :3]) / grid.spacing
    nearest = [0, 0, 0]
    for _ in range(3):
        world, voxel = (int(index) for index in np.unravel_index(int(cosines.argmax()), (3, 3)))
        nearest[voxel] = world
        cosines[world, :] = -1.0
        cosines[:, voxel] = -1.0
    return nearest


def _axis_order(grids: Sequence[Grid]) -> list[int]:
    """World axis of each axis of the result: R, A, S, unless all are slices, whose normal goes last."""
    if not all(grid.is_2d for grid in grids):
        return [0, 1, 2]
    normals = [_nearest_axes(grid)[int(np.argmin(grid.shape))] for grid in grids]
    normal = max(set(normals), key=lambda axis: (normals.count(axis), -axis))
    return [axis for axis in range(3) if axis != normal] + [normal]
