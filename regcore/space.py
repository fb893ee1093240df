"""Voxel grids in world space: shape, affine, and the maps between voxels and RAS+ millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of voxels in world space.

    Parameters
    ----------
    shape : tuple of 3 int
        Voxels along each axis; a 2D grid is ``(X, Y, 1)``.
    affine : array, shape (4, 4)
        Voxel index to world RAS+ millimetres.

    Raises
    ------
    InputError
        If an axis has no voxel, or the affine is not finite or not invertible.

    Examples
    --------
    >>> grid = Grid((4, 4, 4), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> grid.spacing
    array([2., 2., 3.])
    >>> grid.to_world([1, 1, 1])
    array([2., 2., 3.])
    """

    shape: tuple[int, int, int]
    affine: Array

    def __post_init__(self) -> None:
        """Check the values and freeze the affine."""
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"grid: expected three axes of at least one voxel, found shape {shape}")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError("grid: expected a finite 4x4 affine, found NaN, infinity or another shape")
        with np.errstate(all="ignore"):
            volume = abs(np.linalg.det(affine[:3, :3]))
        if not 1e-12 <= volume < np.inf:
            raise InputError("grid: expected an invertible affine, found a zero voxel size or collapsed axes")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> Array:
        """Voxel size along each voxel axis, shape (3,), mm."""
        return np.asarray(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)))

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @cached_property
    def inverse_affine(self) -> Array:
        """World RAS+ millimetres to voxel index, shape (4, 4)."""
        return np.asarray(np.linalg.inv(self.affine))

    @property
    def is_2d(self) -> bool:
        """Whether an axis is a singleton."""
        return min(self.shape) == 1

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    @property
    def centre(self) -> Array:
        """World point of the middle of the grid, shape (3,), mm."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    def to_world(self, voxels: npt.ArrayLike) -> Array:
        """World RAS+ points (mm) of voxel coordinates, shape (..., 3)."""
        return np.asarray(voxels, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_voxel(self, points: npt.ArrayLike) -> Array:
        """Voxel coordinates of world RAS+ points (mm), shape (..., 3)."""
        inverse = self.inverse_affine
        return np.asarray(points, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def world_points(self) -> Array:
        """World point of every voxel centre, shape (X, Y, Z, 3), mm."""
        indices = np.stack(np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij"), axis=-1)
        return self.to_world(indices)

    def corners(self) -> Array:
        """World points of the eight outer corners of the voxel box, shape (8, 3), mm."""
        bounds = [(-0.5, n - 0.5) for n in self.shape]
        return self.to_world([[x, y, z] for x in bounds[0] for y in bounds[1] for z in bounds[2]])

    def matches(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same voxels, corner positions within `tolerance_mm`."""
        return self.shape == other.shape and bool(
            np.abs(self.corners() - other.corners()).max() <= tolerance_mm
        )

    def shrink(self, factors: Sequence[float]) -> Grid:
        """Coarser grid over the same field of view; a singleton axis stays as it is.

        Parameters
        ----------
        factors : sequence of 3 float
            How much larger the voxels become along each axis.
        """
        old = np.array(self.shape, dtype=np.float64)
        wanted = np.where(old > 1, np.asarray(factors, dtype=np.float64), 1.0)
        shape = np.maximum(np.ceil(old / wanted - 1e-6), 1).astype(int)
        scale = np.diag([*wanted, 1.0])
        # voxel centres: the middle of the new grid stays on the middle of the old one
        scale[:3, 3] = (old - 1) / 2 - wanted * (shape - 1) / 2
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), self.affine @ scale)

    def crop(self, lower: Sequence[int], upper: Sequence[int]) -> Grid:
        """Grid of voxels `lower` (inclusive) to `upper` (exclusive); limits beyond the grid pad it."""
        shift = np.eye(4)
        shift[:3, 3] = lower
        shape = [int(b) - int(a) for a, b in zip(lower, upper, strict=True)]
        return Grid((shape[0], shape[1], shape[2]), self.affine @ shift)
