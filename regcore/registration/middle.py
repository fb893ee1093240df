"""The space in the middle between two images, which does not change when they are swapped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from regcore.space import Grid
from regcore.transforms import Affine, exp_affine, log_affine


@dataclass(frozen=True, eq=False)
class Frame:
    """Where a registration holds its field, and how points of that space map to both images.

    Parameters
    ----------
    grid : Grid
    to_fixed, to_moving : Affine
        World points of the frame to those of the fixed and of the moving image.
    """

    grid: Grid
    to_fixed: Affine
    to_moving: Affine


def middle_frame(fixed: Grid, moving: Grid, affine: Affine) -> Frame:
    """Frame half way along an affine from `fixed` to `moving` world points, over both grids.

    Raises
    ------
    InputError
        If the affine has no real square root: it reflects, or turns by half a circle.

    Examples
    --------
    >>> grid = Grid((4, 4, 4), np.eye(4))
    >>> frame = middle_frame(grid, grid, Affine.from_parameters(translation=(2, 0, 0)))
    >>> frame.to_moving.matrix[0, 3], frame.grid.shape
    (np.float64(1.0), (6, 4, 4))
    """
    half = Affine(exp_affine(log_affine(affine.matrix) / 2))
    back = half.inverse()
    first, second = (
        Grid(fixed.shape, half.matrix @ fixed.affine),
        Grid(moving.shape, back.matrix @ moving.affine),
    )
    return Frame(middle_grid(first, second), back, half)


def middle_grid(first: Grid, second: Grid) -> Grid:
    """Grid over two others: mean axes, geometric mean of the voxel sizes; the same either way round.

    Examples
    --------
    >>> grid = Grid((4, 5, 6), np.diag([-2.0, 2, 3, 1]))
    >>> bool(middle_grid(grid, grid).matches(grid))
    True
    """
    a, b = first.affine[:3, :3] / first.spacing, second.affine[:3, :3] / second.spacing
    # the axes of the second that lie along those of the first, whatever their order and sense
    cosines = a.T @ b
    order = scipy.optimize.linear_sum_assignment(-np.abs(cosines))[1]
    b = b[:, order] * np.sign(cosines[[0, 1, 2], order])
    axes = np.asarray(scipy.linalg.polar(a + b)[0])
    spacing = np.sqrt(first.spacing * second.spacing[order])
    corners = np.concatenate([first.corners(), second.corners()]) @ axes
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.maximum(np.ceil((high - low) / spacing - 1e-6).astype(int), 1)
    shape[np.array(first.shape) == 1] = 1
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = axes @ ((low + high) / 2 - spacing * (shape - 1) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
