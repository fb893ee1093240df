"""Passes over displacement fields: forces, longest vector, change of grid."""

import numpy as np
import numpy.typing as npt

from regcore.kernels.compose import read_vector
from regcore.kernels.parallel import kernel, run_blocks

Float32 = npt.NDArray[np.float32]


@kernel
def _chain(start, stop, slope, gradient, matrix, out):  # type: ignore[no-untyped-def]
    for x in range(start, stop):
        for y in range(slope.shape[1]):
            for z in range(slope.shape[2]):
                s = slope[x, y, z]
                gx = s * gradient[x, y, z, 0]
                gy = s * gradient[x, y, z, 1]
                gz = s * gradient[x, y, z, 2]
                out[x, y, z, 0] = matrix[0, 0] * gx + matrix[1, 0] * gy + matrix[2, 0] * gz
                out[x, y, z, 1] = matrix[0, 1] * gx + matrix[1, 1] * gy + matrix[2, 1] * gz
                out[x, y, z, 2] = matrix[0, 2] * gx + matrix[1, 2] * gy + matrix[2, 2] * gz


def displacement_gradient(
    slope: Float32, image_gradient: Float32, matrix: npt.ArrayLike, out: Float32 | None = None
) -> Float32:
    """Derivative of an energy with respect to the displacement, by the chain rule.

    Parameters
    ----------
    slope : float32 array, shape (X, Y, Z)
        Derivative with respect to the warped intensities.
    image_gradient : float32 array, shape (X, Y, Z, 3)
        Derivative of the warped intensities per voxel of the moving image.
    matrix : array, shape (3 or 4, 4)
        Output voxel to voxel of the moving image.
    """
    out = np.empty_like(image_gradient) if out is None else out
    matrix = np.ascontiguousarray(np.asarray(matrix)[:3, :3], np.float32)
    run_blocks(_chain, slope.shape[0], slope, image_gradient, matrix, out)
    return out


@kernel
def _affine_moments(start, stop, slope, gradient):  # type: ignore[no-untyped-def]
    sums = np.zeros((3, 4), np.float64)
    for x in range(start, stop):
        for y in range(slope.shape[1]):
            row = np.zeros((3, 2), np.float32)
            for z in range(slope.shape[2]):
                s = slope[x, y, z]
                for i in range(3):
                    g = s * gradient[x, y, z, i]
                    row[i, 0] += g
                    row[i, 1] += g * np.float32(z)
            for i in range(3):
                sums[i, 0] += row[i, 0] * x
                sums[i, 1] += row[i, 0] * y
                sums[i, 2] += row[i, 1]
                sums[i, 3] += row[i, 0]
    return sums


def matrix_gradient(slope: Float32, image_gradient: Float32) -> npt.NDArray[np.float64]:
    """Derivative of an energy with respect to the output-voxel-to-image-voxel matrix, shape (3, 4)."""
    parts = run_blocks(_affine_moments, slope.shape[0], slope, image_gradient)
    return np.asarray(np.sum(parts, axis=0))


@kernel
def _longest(start, stop, field):  # type: ignore[no-untyped-def]
    longest = np.float32(0)
    for x in range(start, stop):
        for y in range(field.shape[1]):
            for z in range(field.shape[2]):
                a, b, c = field[x, y, z, 0], field[x, y, z, 1], field[x, y, z, 2]
                longest = max(longest, a * a + b * b + c * c)
    return longest


def longest_vector(field: Float32) -> float:
    """Length of the longest vector of a field.

    Examples
    --------
    >>> round(longest_vector(np.full((2, 2, 2, 3), 2.0, np.float32)) ** 2, 4)
    12.0
    """
    return float(np.sqrt(max(run_blocks(_longest, field.shape[0], field))))


@kernel
def _inner(start, stop, first, second):  # type: ignore[no-untyped-def]
    total = np.float64(0)
    for x in range(start, stop):
        for y in range(first.shape[1]):
            row = np.float32(0)
            for i in range(first.shape[2]):
                row += first[x, y, i] * second[x, y, i]
            total += np.float64(row)
    return total


def inner_product(first: Float32, second: Float32) -> float:
    """Sum of the products of the values of two fields, with the same bits for any number of threads.

    Examples
    --------
    >>> inner_product(np.full((2, 2, 2, 3), 2.0, np.float32), np.ones((2, 2, 2, 3), np.float32))
    48.0
    """
    rows = (*first.shape[:2], -1)
    return float(sum(run_blocks(_inner, first.shape[0], first.reshape(rows), second.reshape(rows))))


@kernel
def _resize(start, stop, field, scale, shift, out):  # type: ignore[no-untyped-def]
    for x in range(start, stop):
        for y in range(out.shape[1]):
            for z in range(out.shape[2]):
                ux, uy, uz = read_vector(
                    field,
                    scale[0] * np.float32(x) + shift[0],
                    scale[1] * np.float32(y) + shift[1],
                    scale[2] * np.float32(z) + shift[2],
                )
                out[x, y, z, 0] = ux / scale[0]
                out[x, y, z, 1] = uy / scale[1]
                out[x, y, z, 2] = uz / scale[2]


def resize_field(
    field: Float32, scale: npt.ArrayLike, shift: npt.ArrayLike, shape: tuple[int, int, int]
) -> Float32:
    """A displacement field on another grid with the same axes.

    Parameters
    ----------
    field : float32 array, shape (X, Y, Z, 3)
    scale, shift : array, shape (3,)
        Voxel of the new grid to voxel of the old one: ``scale * p + shift``.
    shape : tuple of 3 int
        Shape of the new grid; beyond the old one the nearest edge is repeated.
    """
    out = np.empty((*shape, 3), np.float32)
    scale, shift = np.asarray(scale, np.float32), np.asarray(shift, np.float32)
    run_blocks(_resize, shape[0], field, scale, shift, out)
    return out


@kernel
def _carry(start, stop, field, matrix, inverse, out):  # type: ignore[no-untyped-def]
    for x in range(start, stop):
        for y in range(out.shape[1]):
            for z in range(out.shape[2]):
                px, py, pz = np.float32(x), np.float32(y), np.float32(z)
                ux, uy, uz = read_vector(
                    field,
                    matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3],
                    matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3],
                    matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3],
                )
                out[x, y, z, 0] = inverse[0, 0] * ux + inverse[0, 1] * uy + inverse[0, 2] * uz
                out[x, y, z, 1] = inverse[1, 0] * ux + inverse[1, 1] * uy + inverse[1, 2] * uz
                out[x, y, z, 2] = inverse[2, 0] * ux + inverse[2, 1] * uy + inverse[2, 2] * uz


def carry_field(field: Float32, matrix: npt.ArrayLike, shape: tuple[int, int, int]) -> Float32:
    """A field on another grid whose axes may be turned: ``A^-1 u(A p + t)`` for the matrix ``[A t]``.

    A displacement keeps its map, ``(id + result) = M^-1 o (id + u) o M``, and a velocity its flow.

    Parameters
    ----------
    field : float32 array, shape (X, Y, Z, 3)
        Displacement or velocity u, voxels of its grid.
    matrix : array, shape (4, 4)
        M: voxel of the new grid to voxel of the old one.
    shape : tuple of 3 int
        Shape of the new grid; beyond the old one the nearest edge is repeated.

    Examples
    --------
    >>> field = np.full((2, 2, 2, 3), [1.0, 0.0, 0.0], np.float32)
    >>> quarter_turn = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> carry_field(field, quarter_turn, (2, 2, 2))[0, 0, 0].tolist()
    [0.0, -1.0, 0.0]
    """
    out = np.empty((*shape, 3), np.float32)
    full = np.asarray(matrix, np.float64)
    inverse = np.ascontiguousarray(np.linalg.inv(full[:3, :3]), np.float32)
    run_blocks(_carry, shape[0], field, np.ascontiguousarray(full[:3], np.float32), inverse, out)
    return out
