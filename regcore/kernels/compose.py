"""Compose displacement fields that share one grid."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regcore.kernels.layout import components, empty_field, from_components
from regcore.kernels.parallel import inline, kernel, run_blocks
from regcore.kernels.sample import bracket, brackets_of_row

Float32 = npt.NDArray[np.float32]


@inline
def read_vector(field, qx, qy, qz):  # type: ignore[no-untyped-def]
    """Trilinear value of a vector field, given by components, at a position clamped to the nearest edge."""
    x0, x1, a = bracket(qx, field.shape[1])
    y0, y1, b = bracket(qy, field.shape[2])
    z0, z1, c = bracket(qz, field.shape[3])
    one = np.float32(1)
    w00 = (one - a) * (one - b)
    w01 = (one - a) * b
    w10 = a * (one - b)
    w11 = a * b
    d = one - c
    ux = (
        w00 * (d * field[0, x0, y0, z0] + c * field[0, x0, y0, z1])
        + w01 * (d * field[0, x0, y1, z0] + c * field[0, x0, y1, z1])
        + w10 * (d * field[0, x1, y0, z0] + c * field[0, x1, y0, z1])
        + w11 * (d * field[0, x1, y1, z0] + c * field[0, x1, y1, z1])
    )
    uy = (
        w00 * (d * field[1, x0, y0, z0] + c * field[1, x0, y0, z1])
        + w01 * (d * field[1, x0, y1, z0] + c * field[1, x0, y1, z1])
        + w10 * (d * field[1, x1, y0, z0] + c * field[1, x1, y0, z1])
        + w11 * (d * field[1, x1, y1, z0] + c * field[1, x1, y1, z1])
    )
    uz = (
        w00 * (d * field[2, x0, y0, z0] + c * field[2, x0, y0, z1])
        + w01 * (d * field[2, x0, y1, z0] + c * field[2, x0, y1, z1])
        + w10 * (d * field[2, x1, y0, z0] + c * field[2, x1, y0, z1])
        + w11 * (d * field[2, x1, y1, z0] + c * field[2, x1, y1, z1])
    )
    return ux, uy, uz


@kernel
def _read_row(ux, uy, uz, shape, rows, corner, scale, vx, vy, vz, out_x, out_y, out_z):  # type: ignore
    """Trilinear values of a row of a vector field, and a multiple of another row, which `out` may be."""
    step_x = np.uint32(shape[1] * shape[2] if shape[0] > 1 else 0)
    step_y = np.uint32(shape[2] if shape[1] > 1 else 0)
    step_z = np.uint32(1 if shape[2] > 1 else 0)
    wx, wy, wz = rows[0], rows[1], rows[2]
    one = np.float32(1)
    for z in range(len(corner)):
        a, b, c = wx[z], wy[z], wz[z]
        d = one - c
        w11 = a * b
        w10, w01 = a - w11, b - w11
        w00 = one - a - w01
        i = np.uint32(corner[z])
        j, k = i + step_y, i + step_x
        n = k + step_y
        out_x[z] = scale * vx[z] + (
            w00 * (d * ux[i] + c * ux[i + step_z])
            + w01 * (d * ux[j] + c * ux[j + step_z])
            + w10 * (d * ux[k] + c * ux[k + step_z])
            + w11 * (d * ux[n] + c * ux[n + step_z])
        )
        out_y[z] = scale * vy[z] + (
            w00 * (d * uy[i] + c * uy[i + step_z])
            + w01 * (d * uy[j] + c * uy[j + step_z])
            + w10 * (d * uy[k] + c * uy[k + step_z])
            + w11 * (d * uy[n] + c * uy[n + step_z])
        )
        out_z[z] = scale * vz[z] + (
            w00 * (d * uz[i] + c * uz[i + step_z])
            + w01 * (d * uz[j] + c * uz[j + step_z])
            + w10 * (d * uz[k] + c * uz[k + step_z])
            + w11 * (d * uz[n] + c * uz[n + step_z])
        )


@kernel
def _compose_row(ux, uy, uz, shape, rows, corner, x, y, inner, scale, ox, oy, oz):  # type: ignore[no-untyped-def]
    vx, vy, vz = inner[0, x, y], inner[1, x, y], inner[2, x, y]
    px, py = np.float32(x), np.float32(y)
    qx, qy, qz = rows[0], rows[1], rows[2]
    for z in range(len(vx)):
        qx[z], qy[z] = px + scale * vx[z], py + scale * vy[z]
        qz[z] = np.float32(np.int32(z)) + scale * vz[z]
    brackets_of_row(rows, shape, corner)
    _read_row(ux, uy, uz, shape, rows, corner, scale, vx, vy, vz, ox, oy, oz)


@kernel
def _compose(start, stop, outer, inner, scale, out):  # type: ignore[no-untyped-def]
    _, _, ny, nz = inner.shape
    shape = outer.shape[1:]
    ux, uy, uz = outer[0].reshape(-1), outer[1].reshape(-1), outer[2].reshape(-1)
    rows, corner = np.empty((7, nz), np.float32), np.empty(nz, np.int32)
    for x in range(start, stop):
        for y in range(ny):
            a, b, c = out[0, x, y], out[1, x, y], out[2, x, y]
            _compose_row(ux, uy, uz, shape, rows, corner, x, y, inner, scale, a, b, c)


@kernel
def _longest(start, stop, field):  # type: ignore[no-untyped-def]
    longest = np.float32(0)
    for x in range(start, stop):
        for y in range(field.shape[2]):
            ux, uy, uz = field[0, x, y], field[1, x, y], field[2, x, y]
            for z in range(len(ux)):
                longest = max(longest, ux[z] * ux[z] + uy[z] * uy[z] + uz[z] * uz[z])
    return longest


def longest_vector(field: Float32) -> float:
    """Length of the longest vector of a field.

    Examples
    --------
    >>> round(longest_vector(np.full((2, 2, 2, 3), 2.0, np.float32)) ** 2, 4)
    12.0
    """
    return float(np.sqrt(max(run_blocks(_longest, field.shape[0], components(field)))))


def compose(outer: Float32, inner: Float32, scale: float = 1.0, out: Float32 | None = None) -> Float32:
    """Displacement of ``(id + outer) o (id + scale * inner)``, both in voxels of one grid.

    Parameters
    ----------
    outer, inner : float32 array, shape (X, Y, Z, 3)
        `outer` is read by trilinear interpolation, beyond the grid at its nearest edge.
    scale : float
        Multiplies `inner`, so that a step length needs no pass of its own.
    out : float32 array, optional
        Where to write, from `empty_field`; it may be `inner`, not `outer`.

    Examples
    --------
    >>> shift = np.ones((2, 2, 2, 3), np.float32)
    >>> float(compose(shift, shift).max())
    2.0
    """
    parts = components(empty_field(inner.shape[:3]) if out is None else out)
    first, second = components(outer), components(inner)
    run_blocks(_compose, second.shape[1], first, second, np.float32(scale), parts)
    return from_components(parts)


@kernel
def _composed_lengths(start, stop, outer, inner, margin_x, margin_y, margin_z):  # type: ignore[no-untyped-def]
    _, _, ny, nz = inner.shape
    shape = outer.shape[1:]
    ux, uy, uz = outer[0].reshape(-1), outer[1].reshape(-1), outer[2].reshape(-1)
    rows, corner = np.empty((7, nz), np.float32), np.empty(nz, np.int32)
    sums = np.empty((3, nz), np.float32)
    a, b, c = sums[0], sums[1], sums[2]
    total, longest = 0.0, np.float32(0)
    for x in range(start + margin_x, stop + margin_x):
        for y in range(margin_y, ny - margin_y):
            _compose_row(ux, uy, uz, shape, rows, corner, x, y, inner, np.float32(1), a, b, c)
            for z in range(margin_z, nz - margin_z):
                length = np.sqrt(a[z] * a[z] + b[z] * b[z] + c[z] * c[z])
                total += length
                longest = max(longest, length)
    return total, longest


def composed_lengths(outer: Float32, inner: Float32, margin: Sequence[int]) -> tuple[float, float]:
    """Mean and largest length of ``compose(outer, inner)`` inside a margin, which is never stored.

    Parameters
    ----------
    outer, inner : float32 array, shape (X, Y, Z, 3)
        Voxels of one grid.
    margin : 3 ints
        Voxels left out at either end of each axis, less than half of it.

    Examples
    --------
    >>> shift = np.ones((4, 4, 4, 3), np.float32)
    >>> composed_lengths(shift, -shift, (1, 1, 1))
    (0.0, 0.0)
    """
    first, second = components(outer), components(inner)
    count = second.shape[1] - 2 * margin[0]
    totals, longest = zip(*run_blocks(_composed_lengths, count, first, second, *margin), strict=True)
    size = np.prod([n - 2 * m for n, m in zip(second.shape[1:], margin, strict=True)])
    return float(sum(totals) / size), float(max(longest))
