"""A smooth displacement field through control points: the thin-plate spline."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator

from regcore.errors import InputError
from regcore.features.descriptors import plane_basis
from regcore.kernels.bspline import bspline_coefficients, sample_cubic
from regcore.space import Array, Grid
from regcore.transforms import Affine, Displacement

# kernel evaluations that take about a second
EVALUATIONS = 200_000_000
FEWEST_VOXELS = 4096
SAME_PLACE_MM = 1e-6


def fit_field(
    fixed: npt.ArrayLike,
    moving: npt.ArrayLike,
    grid: Grid,
    affine: Affine,
    smoothing: float = 0.0,
) -> Displacement:
    """Displacement u of least bending with ``affine(x + u(x))`` at, or near, the moving points.

    Parameters
    ----------
    fixed, moving : array, shape (N, 3)
        Corresponding points, world mm.
    grid : Grid
        Where the field lies.
    affine : Affine
        Fixed to moving world points, applied after the field.
    smoothing : float
        0 passes through every pair; more trades distance from the pairs for a smoother field. It counts in
        voxels of `grid`, so that the same value suits large and small animals.

    Returns
    -------
    Displacement
        On `grid`; in the plane of a 2D grid.

    Raises
    ------
    InputError
        If there are too few pairs, or they lie on a line or in a plane.

    References
    ----------
    Bookstein (1989), "Principal warps", IEEE TPAMI 11(6), doi:10.1109/34.24792; with smoothing Rohr et al.
    (2001), "Landmark-based elastic registration using approximating thin-plate splines", IEEE TMI 20(6),
    doi:10.1109/42.929618.

    Examples
    --------
    >>> grid = Grid((9, 9, 9), np.eye(4))
    >>> points = np.random.default_rng(0).uniform(0, 8, (12, 3))
    >>> field = fit_field(points, points + [0.5, 0, 0], grid, Affine(np.eye(4)))
    >>> field([4.0, 4.0, 4.0]).round(3)
    array([4.5, 4. , 4. ])
    """
    first = np.asarray(fixed, np.float64)
    shift = affine.inverse()(moving) - first
    basis = plane_basis(grid)
    points, shift = _merged(first @ basis, shift @ basis)
    axes = basis.shape[1]
    spread = (
        np.linalg.svd(points - points.mean(axis=0), compute_uv=False) if len(points) > axes else np.zeros(3)
    )
    if spread[axes - 1] <= 1e-3 * spread[0]:
        raise InputError(
            f"landmarks: expected at least {axes + 1} pairs that do not lie "
            f"{'on a line' if axes == 2 else 'in a plane'} for a displacement field, found {len(points)}"
        )
    # the kernel of least bending energy is r^2 log r in the plane, and r in space
    kernel: Literal["thin_plate_spline", "linear"] = "thin_plate_spline" if axes == 2 else "linear"
    voxel = float(np.exp(np.log(grid.spacing[np.array(grid.shape) > 1]).mean()))
    stiffness = smoothing * (voxel**2 if axes == 2 else voxel)
    spline = RBFInterpolator(points, shift, kernel=kernel, degree=1, smoothing=stiffness)
    coarse = _affordable(grid, len(points))
    world = spline(coarse.world_points().reshape(-1, 3) @ basis) @ basis.T
    field = Displacement.from_world(world.reshape(*coarse.shape, 3), coarse)
    return field if coarse is grid else _refined(field, grid)


def _merged(points: Array, values: Array) -> tuple[Array, Array]:
    """Each place once, with the mean of its values: a spline cannot pass through two."""
    _, first, where = np.unique(
        np.rint(points / SAME_PLACE_MM), axis=0, return_index=True, return_inverse=True
    )
    where = where.ravel()
    counts = np.bincount(where)
    mean = [np.bincount(where, weights=column) / counts for column in values.T]
    return points[first], np.stack(mean, axis=1)


def _affordable(grid: Grid, points: int) -> Grid:
    """The grid itself, or one so much coarser that a spline through so many points is quickly evaluated."""
    wanted = max(EVALUATIONS // points, FEWEST_VOXELS)
    if grid.size <= wanted:
        return grid
    wide = np.array(grid.shape) > 1
    extent = np.array(grid.shape) * grid.spacing
    size = float(extent[wide].prod() / wanted) ** (1 / wide.sum())
    return grid.shrink(np.maximum(size / grid.spacing, 1).tolist())


def _refined(field: Displacement, grid: Grid) -> Displacement:
    """A smooth field on a finer grid, by cubic B-splines."""
    onto = field.grid.inverse_affine @ grid.affine
    world = field.to_world()
    parts = [
        sample_cubic(bspline_coefficients(world[..., axis]), onto, shape=grid.shape) for axis in range(3)
    ]
    return Displacement.from_world(np.stack(parts, axis=-1), grid)
