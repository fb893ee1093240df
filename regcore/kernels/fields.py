"""Passes over displacement fields: forces, change of grid."""

import numpy as np
import numpy.typing as npt

from regcore.kernels.layout import components, empty_field, from_components
from regcore.kernels.parallel import kernel, run_blocks
from regcore.kernels.sample import bracket

Float32 = npt.NDArray[np.float32]


@kernel
def _chain(start, stop, slope, gradient, matrix, out):  # type: ignore[no-untyped-def]
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    for x in range(start, stop):
        for y in range(slope.shape[1]):
            line = slope[x, y]
            gx, gy, gz = gradient[0, x, y], gradient[1, x, y], gradient[2, x, y]
            ox, oy, oz = out[0, x, y], out[1, x, y], out[2, x, y]
            for z in range(len(line)):
                a, b, c = line[z] * gx[z], line[z] * gy[z], line[z] * gz[z]
                ox[z] = m00 * a + m10 * b + m20 * c
                oy[z] = m01 * a + m11 * b + m21 * c
                oz[z] = m02 * a + m12 * b + m22 * c


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
    out : float32 array, shape (X, Y, Z, 3), optional
        Where to write, from `empty_field`; it may be `image_gradient`.
    """
    parts = components(empty_field(slope.shape) if out is None else out)
    matrix = np.ascontiguousarray(np.asarray(matrix)[:3, :3], np.float32)
    run_blocks(_chain, slope.shape[0], slope, components(image_gradient), matrix, parts)
    return from_components(parts)


@kernel
def _affine_moments(start, stop, slope, gradient):  # type: ignore[no-untyped-def]
    sums = np.zeros((3, 4), np.float64)
    for x in range(start, stop):
        for y in range(slope.shape[1]):
            line = slope[x, y]
            for i in range(3):
                row = gradient[i, x, y]
                total, moment = np.float32(0), np.float32(0)
                for z in range(len(line)):
                    g = line[z] * row[z]
                    total += g
                    moment += g * np.float32(np.int32(z))
                sums[i, 0] += total * x
                sums[i, 1] += total * y
                sums[i, 2] += moment
                sums[i, 3] += total
    return sums


def matrix_gradient(slope: Float32, image_gradient: Float32) -> npt.NDArray[np.float64]:
    """Derivative of an energy with respect to the output-voxel-to-image-voxel matrix, shape (3, 4)."""
    parts = run_blocks(_affine_moments, slope.shape[0], slope, components(image_gradient))
    return np.asarray(np.sum(parts, axis=0))


@kernel
def _axis_samples(size, scale, shift, old_size):  # type: ignore[no-untyped-def]
    """Lower and upper sample of every new voxel along an axis, and the weight of the upper one."""
    low, high = np.empty(size, np.int32), np.empty(size, np.int32)
    weight = np.empty(size, np.float32)
    for i in range(size):
        low[i], high[i], weight[i] = bracket(scale * np.float32(i) + shift, old_size)
    return low, high, weight


@kernel
def _resize(start, stop, field, scale, shift, out):  # type: ignore[no-untyped-def]
    _, nx, ny, nz = out.shape
    one = np.float32(1)
    x0, x1, wx = _axis_samples(nx, scale[0], shift[0], field.shape[1])
    y0, y1, wy = _axis_samples(ny, scale[1], shift[1], field.shape[2])
    z0, z1, wz = _axis_samples(nz, scale[2], shift[2], field.shape[3])
    row = np.empty(field.shape[3], np.float32)
    for x in range(start, stop):
        for y in range(ny):
            # the weights across a row are the same all along it: blend four rows, then read between voxels
            w10, w01 = wx[x] * (one - wy[y]), (one - wx[x]) * wy[y]
            w11 = wx[x] * wy[y]
            w00 = one - w10 - w01 - w11
            for axis in range(3):
                r00, r01 = field[axis, x0[x], y0[y]], field[axis, x0[x], y1[y]]
                r10, r11 = field[axis, x1[x], y0[y]], field[axis, x1[x], y1[y]]
                inverse = one / scale[axis]
                for z in range(len(row)):
                    row[z] = inverse * (w00 * r00[z] + w01 * r01[z] + w10 * r10[z] + w11 * r11[z])
                line = out[axis, x, y]
                for z in range(nz):
                    low = row[z0[z]]
                    line[z] = low + wz[z] * (row[z1[z]] - low)


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
    parts = np.empty((3, *shape), np.float32)
    scale, shift = np.asarray(scale, np.float32), np.asarray(shift, np.float32)
    run_blocks(_resize, shape[0], components(field), scale, shift, parts)
    return from_components(parts)
