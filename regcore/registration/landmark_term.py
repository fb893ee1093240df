"""Landmarks as a term of the energy, beside the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.landmarks import Landmarks
from regcore.space import Array, Grid

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LandmarkTerm:
    """Mean squared distance of mapped fixed landmarks from the moving ones, times a weight.

    Parameters
    ----------
    fixed, moving : Landmarks
        World RAS+ mm, of one size and order (see `regcore.landmarks.pair_landmarks`).
    weight : float
        Per mm². The energy of images is about one: with a weight of 0.01, landmarks 10 mm off count as much.

    Raises
    ------
    InputError
        If the sets differ in size, or the weight is not a positive number.

    Examples
    --------
    >>> term = LandmarkTerm(Landmarks(np.zeros((1, 3))), Landmarks(np.array([[3.0, 4.0, 0.0]])), 0.01)
    >>> term.of_matrix(np.eye(4))[0]
    0.25
    """

    fixed: Landmarks
    moving: Landmarks
    weight: float

    def __post_init__(self) -> None:
        """Check sizes and weight."""
        if len(self.fixed) != len(self.moving):
            found = f"{len(self.moving)} and {len(self.fixed)}"
            raise InputError(f"landmarks: expected as many moving as fixed ones, found {found}")
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise InputError(f"landmarks: expected a weight above 0, found {self.weight}")

    def check_inside(self, fixed: Grid, moving: Grid) -> None:
        """Raise `InputError` for a landmark that lies outside its image."""
        for side, landmarks, grid in (("fixed", self.fixed, fixed), ("moving", self.moving, moving)):
            voxels = grid.to_voxel(landmarks.points)
            outside = ((voxels < -0.5) | (voxels > np.array(grid.shape) - 0.5)).any(axis=1)
            if outside.any():
                number = int(np.flatnonzero(outside)[0])
                name = landmarks.names[number] if landmarks.names else str(number + 1)
                where = ", ".join(f"{value:.1f}" for value in landmarks.points[number])
                raise InputError(
                    f"landmark {name}: expected a point inside the {side} image, found ({where}) mm outside"
                )

    def of_matrix(self, matrix: Array) -> tuple[float, Array]:
        """Value of the term under a world matrix, shape (4, 4), and its derivative by the top three rows."""
        points = np.column_stack([self.fixed.points, np.ones(len(self.fixed))])
        residual = points @ matrix[:3].T - self.moving.points
        return self._mean(residual), 2 * self.weight / len(points) * residual.T @ points

    def of_field(self, field: Float32, grid: Grid, matrix: Array, gradient: Float32) -> float:
        """Value of the term under a displacement followed by a world matrix; its derivative is added.

        Parameters
        ----------
        field : float32 array, shape (X, Y, Z, 3)
            Displacement in voxels of `grid`, read by linear interpolation.
        grid : Grid
        matrix : array, shape (4, 4)
            World to world mm.
        gradient : float32 array, shape (X, Y, Z, 3)
            The derivative by `field` is added to it.
        """
        corners, shares = _corners(grid.to_voxel(self.fixed.points), grid.shape)
        moved = grid.to_voxel(self.fixed.points) + np.einsum("nc,nck->nk", shares, field[corners])
        linear = matrix[:3, :3] @ grid.affine[:3, :3]
        residual = grid.to_world(moved) @ matrix[:3, :3].T + matrix[:3, 3] - self.moving.points
        by_vector = 2 * self.weight / len(residual) * residual @ linear
        np.add.at(gradient, corners, (shares[..., None] * by_vector[:, None, :]).astype(np.float32))
        return self._mean(residual)

    def _mean(self, residual: Array) -> float:
        return self.weight * float((residual**2).sum(axis=1).mean())


def _corners(voxels: Array, shape: tuple[int, int, int]) -> tuple[tuple[npt.NDArray[np.intp], ...], Array]:
    """Indices, each of shape (N, 8), and linear weights of the voxels around points, clamped to the grid."""
    last = np.array(shape) - 1
    inside = np.clip(voxels, 0, last)
    lower = np.minimum(inside.astype(np.intp), np.maximum(last - 1, 0))
    share = inside - lower
    offsets = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, 8).T
    indices = np.minimum(lower[:, None] + offsets, last)
    weights = np.where(offsets, share[:, None], 1 - share[:, None]).prod(axis=2)
    return tuple(np.moveaxis(indices, 2, 0)), weights
