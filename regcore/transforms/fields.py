"""Transforms held as fields on a grid: displacements and stationary velocities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.exponential import exponential
from regcore.kernels.invert import invert
from regcore.kernels.points import displace_points
from regcore.space import Grid

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]


def _checked(field: Field, grid: Grid, name: str) -> Field:
    values = np.asarray(field, dtype=np.float32)
    if values.shape != (*grid.shape, 3):
        raise InputError(f"{name}: expected a field of shape {(*grid.shape, 3)}, found {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{name}: expected finite values, found NaN or infinity")
    return values


def _voxels_from_mm(field_mm: npt.NDArray[np.floating], grid: Grid) -> Field:
    return np.ascontiguousarray(field_mm @ grid.inverse_affine[:3, :3].T, dtype=np.float32)


def _mm_from_voxels(field: Field, grid: Grid) -> Field:
    return np.ascontiguousarray(field @ grid.affine[:3, :3].T.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Displacement:
    """A displacement field: ``x -> x + u(x)``, linear between voxels, the identity outside its voxel box.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Displacement in voxels of `grid`, float32. Not to be written to.
    grid : Grid
        Where the field lies.

    Raises
    ------
    InputError
        If the shapes differ or a value is not finite.

    Examples
    --------
    >>> grid = Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> one_voxel = Displacement(np.ones((4, 4, 4, 3), np.float32), grid)
    >>> one_voxel([2.0, 2.0, 2.0])
    array([4., 4., 4.])
    """

    field: Field
    grid: Grid

    def __post_init__(self) -> None:
        """Check the field."""
        object.__setattr__(self, "field", _checked(self.field, self.grid, "displacement"))

    @classmethod
    def from_world(cls, field_mm: npt.NDArray[np.floating], grid: Grid) -> Displacement:
        """Displacement of a field in world RAS+ mm, shape (X, Y, Z, 3)."""
        return cls(_voxels_from_mm(np.asarray(field_mm), grid), grid)

    def to_world(self) -> Field:
        """Field in world RAS+ mm, shape (X, Y, Z, 3), float32."""
        return _mm_from_voxels(self.field, self.grid)

    def __call__(self, points: npt.ArrayLike) -> Array:
        """Mapped world points (mm), shape (..., 3)."""
        given = np.asarray(points, dtype=np.float64)
        return displace_points(given.reshape(-1, 3), self.field, self.grid.affine).reshape(given.shape)

    def inverse(self) -> Displacement:
        """Numerical inverse on the same grid (see `regcore.kernels.invert.invert`)."""
        return Displacement(invert(self.field), self.grid)


@dataclass(frozen=True, eq=False)
class Velocity:
    """The flow at unit time of a stationary velocity field, by scaling and squaring.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Velocity in voxels of `grid` per unit time, float32. Not to be written to.
    grid : Grid
        Where the field lies.

    Raises
    ------
    InputError
        If the shapes differ or a value is not finite.

    Examples
    --------
    >>> grid = Grid((8, 8, 8), np.eye(4))
    >>> flow = Velocity(np.ones((8, 8, 8, 3), np.float32), grid)
    >>> flow.inverse()(flow([3.0, 3.0, 3.0]))
    array([3., 3., 3.])
    """

    field: Field
    grid: Grid

    def __post_init__(self) -> None:
        """Check the field."""
        object.__setattr__(self, "field", _checked(self.field, self.grid, "velocity"))

    @cached_property
    def displacement(self) -> Displacement:
        """The flow as a displacement, computed once."""
        return Displacement(exponential(self.field), self.grid)

    def __call__(self, points: npt.ArrayLike) -> Array:
        """Mapped world points (mm), shape (..., 3)."""
        return self.displacement(points)

    def inverse(self) -> Velocity:
        """The flow backwards in time."""
        return Velocity(-self.field, self.grid)
