"""Transforms in sequence, and a transform brought onto a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.points import map_points
from regcore.space import Grid
from regcore.transforms.affine import Affine
from regcore.transforms.fields import Displacement, Velocity

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]

POINTS_AT_ONCE = 1 << 20
FIT_POINTS_PER_AXIS = 33


class Transform(Protocol):
    """A map of world RAS+ points (mm) from the fixed, output space to the moving, input space."""

    def __call__(self, points: npt.ArrayLike) -> Array:
        """Mapped world points (mm), float64, shape (..., 3)."""
        ...

    def inverse(self) -> Transform:
        """Map from the moving space back to the fixed space."""
        ...


@dataclass(frozen=True, eq=False)
class Chain:
    """Transforms applied one after another, the last one first: ``Chain((a, b))(x) = a(b(x))``.

    Parameters
    ----------
    transforms : sequence of Transform
        Outermost first; chains inside are flattened; an empty chain is the identity.

    Examples
    --------
    >>> double, shift = Affine(np.diag([2.0, 2, 2, 1])), Affine.from_parameters(translation=(1, 0, 0))
    >>> Chain((double, shift))([1.0, 1.0, 1.0])
    array([4., 2., 2.])
    """

    transforms: tuple[Transform, ...]

    def __init__(self, transforms: Sequence[Transform] = ()) -> None:
        flat: list[Transform] = []
        for transform in transforms:
            flat.extend(transform.transforms if isinstance(transform, Chain) else (transform,))
        object.__setattr__(self, "transforms", tuple(flat))

    def __call__(self, points: npt.ArrayLike) -> Array:
        """Mapped world points (mm), shape (..., 3)."""
        mapped = np.array(points, dtype=np.float64)
        for transform in reversed(self.transforms):
            mapped = transform(mapped)
        return mapped

    def inverse(self) -> Chain:
        """Inverses in the opposite order."""
        return Chain(tuple(transform.inverse() for transform in reversed(self.transforms)))


def identity() -> Affine:
    """Transform that leaves every point where it is."""
    return Affine(np.eye(4))


def peel(transform: Transform | None) -> tuple[Affine, Chain]:
    """Outermost affine of a transform and what it is applied to: ``affine(rest(x)) == transform(x)``.

    Affines in a row are multiplied; without one the affine is the identity.

    Examples
    --------
    >>> affine, rest = peel(Chain((Affine(np.diag([2.0, 2, 2, 1])), Affine(np.diag([3.0, 1, 1, 1])))))
    >>> np.diag(affine.matrix).tolist(), len(rest.transforms)
    ([6.0, 2.0, 2.0, 1.0], 0)
    """
    remaining = Chain((transform,)).transforms if transform is not None else ()
    matrix = np.eye(4)
    count = 0
    for step in remaining:
        if not isinstance(step, Affine):
            break
        matrix = matrix @ step.matrix
        count += 1
    return Affine(matrix), Chain(remaining[count:])


def displacement_field(rest: Chain, grid: Grid, after: Affine | None = None) -> Field | None:
    """Field ``u`` with ``x + u(x) == after(rest(x))`` at voxel centres, or None for the identity.

    Parameters
    ----------
    rest : Chain
        Transform to bring onto the grid.
    grid : Grid
        Where the field shall lie.
    after : Affine, optional
        Applied last.

    Returns
    -------
    array of float32, shape (X, Y, Z, 3), or None
        Displacement in voxels of `grid`.
    """
    if after is not None and not np.allclose(after.matrix, np.eye(4), rtol=0, atol=1e-12):
        rest = Chain((after, rest))
    if not rest.transforms:
        return None
    if len(rest.transforms) == 1:
        only = rest.transforms[0]
        field = only.displacement if isinstance(only, Velocity) else only
        # on its own grid a field needs no interpolation
        if isinstance(field, Displacement) and field.grid.matches(grid):
            return field.field
    field_out = np.empty((*grid.shape, 3), np.float32)
    plane = np.stack(np.meshgrid(np.arange(grid.shape[1]), np.arange(grid.shape[2]), indexing="ij"), axis=-1)
    planes = max(POINTS_AT_ONCE // max(plane.shape[0] * plane.shape[1], 1), 1)
    for start in range(0, grid.shape[0], planes):
        stop = min(start + planes, grid.shape[0])
        voxels = np.empty((stop - start, *plane.shape[:2], 3))
        voxels[..., 0] = np.arange(start, stop)[:, None, None]
        voxels[..., 1:] = plane
        mapped = rest(map_points(voxels.reshape(-1, 3), grid.affine))
        field_out[start:stop] = map_points(mapped, grid.inverse_affine).reshape(voxels.shape) - voxels
    for axis in np.flatnonzero(np.array(grid.shape) == 1):
        # rounding must not look like a motion out of the plane
        along = field_out[..., axis]
        along[np.abs(along) < 1e-4] = 0.0
    return field_out


def compose_on_grid(transform: Transform, grid: Grid) -> Displacement:
    """One displacement on `grid` that equals `transform` at its voxel centres.

    Examples
    --------
    >>> grid = Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> compose_on_grid(Affine.from_parameters(translation=(1, 0, 0)), grid).field[0, 0, 0]
    array([0.5, 0. , 0. ], dtype=float32)
    """
    field = displacement_field(Chain((transform,)), grid)
    return Displacement(np.zeros((*grid.shape, 3), np.float32) if field is None else field, grid)


def fit_affine(transform: Transform, grid: Grid, inside: npt.NDArray[np.bool_] | None = None) -> Affine:
    """Affine nearest to a transform over a grid, by least squares of the mapped points.

    Directions that the points do not spread over (the normal of a single slice) are left as they are.

    Parameters
    ----------
    transform : Transform
    grid : Grid
        Of at most 33 voxels along every axis, evenly spread, the centres are mapped.
    inside : bool array of the grid's shape, optional
        Take only the voxels that are True; the 33 then spread over the box around them.

    Raises
    ------
    InputError
        If `inside` is empty or of another shape.

    Examples
    --------
    >>> shift = Affine.from_parameters(translation=(1, 2, 3))
    >>> bool(np.allclose(fit_affine(shift, Grid((5, 6, 7), np.eye(4))).matrix, shift.matrix))
    True
    """
    ends = [(0, size - 1) for size in grid.shape]
    if inside is not None:
        if inside.shape != grid.shape or not inside.any():
            raise InputError(
                f"mask: expected voxels above 0 on the grid {grid.shape}, found {int(inside.sum())} "
                f"on {inside.shape}"
            )
        filled = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        ends = [(int(each[0]), int(each[-1])) for each in filled]
    axes = [
        np.unique(np.linspace(first, last, min(last - first + 1, FIT_POINTS_PER_AXIS)).round())
        for first, last in ends
    ]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    if inside is not None:
        voxels = voxels[inside[tuple(voxels.astype(np.intp).T)]]
    points = grid.to_world(voxels)
    moved = transform(points) - points
    centre = points.mean(axis=0)
    # the least-squares solution of least norm is zero along directions without spread
    slope = np.linalg.lstsq(points - centre, moved - moved.mean(axis=0), rcond=1e-9)[0].T
    matrix = np.eye(4)
    matrix[:3, :3] += slope
    matrix[:3, 3] = moved.mean(axis=0) - slope @ centre
    return Affine(matrix)


def split(transform: Transform, grid: Grid, affine: Affine | None = None) -> tuple[Affine, Displacement]:
    """Affine and displacement on a grid with ``affine(x + u(x)) == transform(x)`` at its voxel centres.

    Parameters
    ----------
    transform : Transform
        Transform to split.
    grid : Grid
        Where the displacement shall lie.
    affine : Affine, optional
        Affine part to use; otherwise the one that the transform applies last, and where it applies none
        last, the least-squares fit over the grid.

    Returns
    -------
    tuple of Affine and Displacement

    Examples
    --------
    >>> grid = Grid((4, 4, 4), np.eye(4))
    >>> shift = Affine.from_parameters(translation=(1, 0, 0))
    >>> affine, displacement = split(Chain((shift, shift)), grid)
    >>> affine.matrix[:3, 3].tolist(), float(displacement.field.max())
    ([2.0, 0.0, 0.0], 0.0)
    """
    outer, rest = peel(transform)
    if affine is None:
        ends_affine = len(rest.transforms) < len(Chain((transform,)).transforms)
        affine = outer if ends_affine or not rest.transforms else fit_affine(transform, grid)
    field = displacement_field(rest, grid, after=affine.inverse() @ outer)
    if field is None:
        field = np.zeros((*grid.shape, 3), np.float32)
    return affine, Displacement(field, grid)
