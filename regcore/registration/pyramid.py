"""Multi-resolution pyramids: smooth, then resample, so that no level carries what it cannot represent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from regcore.image import Image
from regcore.kernels.sample import sample_linear
from regcore.kernels.smooth import gaussian_smooth
from regcore.space import Array, Grid

MARGIN_VOX = 8


class LevelPlan(NamedTuple):
    """A level at which a deformable registration works.

    Parameters
    ----------
    number : int
        Among all levels, those without iterations too.
    iterations : int
    factors : array, shape (3,)
        Voxel size as a multiple of the full grid's.
    fixed_mm : array, shape (3,)
        Voxel size, mm.
    moving_mm : float
        Voxel size of an image with axes of its own: the finest of `fixed_mm`, along all of them.
    """

    number: int
    iterations: int
    factors: Array
    fixed_mm: Array
    moving_mm: float


def finest_spacing(grid: Grid) -> float:
    """Smallest voxel size along the axes that have more than one voxel, mm."""
    return min(float(s) for s, n in zip(grid.spacing, grid.shape, strict=True) if n > 1 or grid.size == 1)


def level_factors(grid: Grid, shrink: float) -> Array:
    """Per-axis factors that bring a grid to about `shrink` times its finest voxel size along every axis.

    Examples
    --------
    >>> level_factors(Grid((9, 9, 9), np.diag([1.0, 1.0, 3.0, 1.0])), 4).round(2)
    array([4.  , 4.  , 1.33])
    """
    factors = np.maximum(shrink * finest_spacing(grid) / grid.spacing, 1.0)
    return np.where(np.array(grid.shape) > 1, factors, 1.0)


def planned_levels(grid: Grid, levels: Iterable[tuple[float, int]]) -> list[LevelPlan]:
    """The levels that have iterations, coarse to fine, from their shrink factors and iterations.

    Examples
    --------
    >>> grid = Grid((9, 9, 9), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> for level in planned_levels(grid, [(4.0, 20), (2.0, 0), (1.0, 5)]):
    ...     print(level.number, level.iterations, level.fixed_mm.tolist(), level.moving_mm)
    0 20 [4.0, 4.0, 4.0] 4.0
    2 5 [1.0, 1.0, 3.0] 1.0
    """
    plan = []
    for number, (shrink, iterations) in enumerate(levels):
        if iterations > 0:
            factors = level_factors(grid, shrink)
            fixed_mm = factors * grid.spacing
            finest = float(fixed_mm[np.array(grid.shape) > 1].min())
            plan.append(LevelPlan(number, iterations, factors, fixed_mm, finest))
    return plan


def level(image: Image, target_mm: Array | float) -> Image:
    """An image smoothed for, and resampled to, a voxel size of at least `target_mm` along every axis.

    Parameters
    ----------
    image : Image
    target_mm : float or array of shape (3,)
        Wanted voxel size; an axis that is already coarser stays as it is.
    """
    factors = np.maximum(np.asarray(target_mm) / image.grid.spacing, 1.0)
    factors = np.where(np.array(image.grid.shape) > 1, factors, 1.0)
    if (factors < 1.01).all():
        return image
    grid = image.grid.shrink([float(f) for f in factors])
    # the Gaussian that turns one voxel's point spread into the coarser one's (full width at half maximum)
    sigma = np.sqrt(factors**2 - 1) / 2.355 * 1.2
    smooth = gaussian_smooth(image.data, [float(s) for s in sigma])
    matrix = image.grid.inverse_affine @ grid.affine
    return Image(sample_linear(smooth, matrix, shape=grid.shape), grid)


def working_crop(image: Image, mask: Image | None) -> Grid:
    """Part of a grid that holds the foreground of an image, or its mask where there is one, with a margin."""
    foreground = image.data > 0.05
    if mask is not None:
        foreground = mask.data > 0
    lower, upper = [], []
    for axis in range(3):
        used = np.flatnonzero(foreground.any(axis=tuple(i for i in range(3) if i != axis)))
        if used.size == 0 or image.grid.shape[axis] == 1:
            lower.append(0)
            upper.append(image.grid.shape[axis])
        else:
            lower.append(max(int(used[0]) - MARGIN_VOX, 0))
            upper.append(min(int(used[-1]) + 1 + MARGIN_VOX, image.grid.shape[axis]))
    return image.grid.crop(lower, upper)
