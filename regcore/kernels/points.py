"""Points moved by a matrix or a displacement field, in double precision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.layout import components
from regcore.kernels.parallel import kernel, run_blocks

POINTS_PER_BLOCK = 32768


@kernel
def _map_points(start, stop, matrix, points):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        a, b, c = points[n, 0], points[n, 1], points[n, 2]
        for axis in range(3):
            points[n, axis] = (
                matrix[axis, 0] * a + matrix[axis, 1] * b + matrix[axis, 2] * c + matrix[axis, 3]
            )


def map_points(points: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points mapped by an affine matrix, with the same bits for any number of threads.

    A library's matrix product may split its sums differently from one number of threads to the next.

    Parameters
    ----------
    points : array, shape (N, 3)
        Any coordinates.
    matrix : array, shape (4, 4)
        Affine matrix.

    Returns
    -------
    array, shape (N, 3)

    Examples
    --------
    >>> map_points(np.array([[1.0, 2.0, 3.0]]), np.diag([2.0, 1.0, 1.0, 1.0]))
    array([[2., 2., 3.]])
    """
    mapped = np.array(points, dtype=np.float64, order="C")
    rows = np.array(matrix[:3], dtype=np.float64, order="C")
    run_blocks(_map_points, len(mapped), rows, mapped, block=POINTS_PER_BLOCK)
    return mapped


@kernel
def _displace_points(start, stop, field, to_voxel, to_world, points):  # type: ignore[no-untyped-def]
    _, nx, ny, nz = field.shape
    for n in range(start, stop):
        a, b, c = points[n, 0], points[n, 1], points[n, 2]
        x = to_voxel[0, 0] * a + to_voxel[0, 1] * b + to_voxel[0, 2] * c + to_voxel[0, 3]
        y = to_voxel[1, 0] * a + to_voxel[1, 1] * b + to_voxel[1, 2] * c + to_voxel[1, 3]
        z = to_voxel[2, 0] * a + to_voxel[2, 1] * b + to_voxel[2, 2] * c + to_voxel[2, 3]
        inside = -0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5 and -0.5 <= z <= nz - 0.5
        if not inside:
            continue
        x = min(max(x, 0.0), nx - 1.0)
        y = min(max(y, 0.0), ny - 1.0)
        z = min(max(z, 0.0), nz - 1.0)
        i, j, k = int(x), int(y), int(z)
        # clamped once more as integers: a point that is not a number must not read outside the array
        i, j, k = min(max(i, 0), nx - 1), min(max(j, 0), ny - 1), min(max(k, 0), nz - 1)
        i1, j1, k1 = min(i + 1, nx - 1), min(j + 1, ny - 1), min(k + 1, nz - 1)
        fx, fy, fz = x - i, y - j, z - k
        w000 = (1 - fx) * (1 - fy) * (1 - fz)
        w001 = (1 - fx) * (1 - fy) * fz
        w010 = (1 - fx) * fy * (1 - fz)
        w011 = (1 - fx) * fy * fz
        w100 = fx * (1 - fy) * (1 - fz)
        w101 = fx * (1 - fy) * fz
        w110 = fx * fy * (1 - fz)
        w111 = fx * fy * fz
        for axis in range(3):
            u = (
                w000 * field[axis, i, j, k]
                + w001 * field[axis, i, j, k1]
                + w010 * field[axis, i, j1, k]
                + w011 * field[axis, i, j1, k1]
                + w100 * field[axis, i1, j, k]
                + w101 * field[axis, i1, j, k1]
                + w110 * field[axis, i1, j1, k]
                + w111 * field[axis, i1, j1, k1]
            )
            points[n, 0] += to_world[0, axis] * u
            points[n, 1] += to_world[1, axis] * u
            points[n, 2] += to_world[2, axis] * u


def displace_points(
    points: npt.NDArray[np.float64], field: npt.NDArray[np.float32], affine: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Points moved by a displacement field, linear inside its voxel box and unmoved outside, as in ITK.

    Parameters
    ----------
    points : array, shape (N, 3)
        World coordinates, mm.
    field : array, shape (X, Y, Z, 3)
        Displacement in voxels of its grid.
    affine : array, shape (4, 4)
        Voxel to world matrix of the grid of `field`.

    Returns
    -------
    array, shape (N, 3)
        World coordinates, mm.

    Examples
    --------
    >>> field = np.ones((4, 4, 4, 3), np.float32)
    >>> displace_points(np.array([[1.0, 1.0, 1.0], [9.0, 0.0, 0.0]]), field, np.eye(4))
    array([[2., 2., 2.],
           [9., 0., 0.]])
    """
    moved = np.array(points, dtype=np.float64, order="C")
    to_voxel = np.ascontiguousarray(np.linalg.inv(affine)[:3])
    to_world = np.array(affine[:3, :3], dtype=np.float64, order="C")
    run_blocks(
        _displace_points, len(moved), components(field), to_voxel, to_world, moved, block=POINTS_PER_BLOCK
    )
    return moved
