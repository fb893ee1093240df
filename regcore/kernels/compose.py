"""Compose displacement fields that share one grid."""

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import inline, kernel, run_blocks
from regcore.kernels.sample import bracket

Float32 = npt.NDArray[np.float32]


@inline
def read_vector(field, qx, qy, qz):  # type: ignore[no-untyped-def]
    """Trilinear value of a vector field at a position, clamped to the nearest edge."""
    x0, x1, a = bracket(qx, field.shape[0])
    y0, y1, b = bracket(qy, field.shape[1])
    z0, z1, c = bracket(qz, field.shape[2])
    one = np.float32(1)
    w00 = (one - a) * (one - b)
    w01 = (one - a) * b
    w10 = a * (one - b)
    w11 = a * b
    d = one - c
    ux = (
        w00 * (d * field[x0, y0, z0, 0] + c * field[x0, y0, z1, 0])
        + w01 * (d * field[x0, y1, z0, 0] + c * field[x0, y1, z1, 0])
        + w10 * (d * field[x1, y0, z0, 0] + c * field[x1, y0, z1, 0])
        + w11 * (d * field[x1, y1, z0, 0] + c * field[x1, y1, z1, 0])
    )
    uy = (
        w00 * (d * field[x0, y0, z0, 1] + c * field[x0, y0, z1, 1])
        + w01 * (d * field[x0, y1, z0, 1] + c * field[x0, y1, z1, 1])
        + w10 * (d * field[x1, y0, z0, 1] + c * field[x1, y0, z1, 1])
        + w11 * (d * field[x1, y1, z0, 1] + c * field[x1, y1, z1, 1])
    )
    uz = (
        w00 * (d * field[x0, y0, z0, 2] + c * field[x0, y0, z1, 2])
        + w01 * (d * field[x0, y1, z0, 2] + c * field[x0, y1, z1, 2])
        + w10 * (d * field[x1, y0, z0, 2] + c * field[x1, y0, z1, 2])
        + w11 * (d * field[x1, y1, z0, 2] + c * field[x1, y1, z1, 2])
    )
    return ux, uy, uz


@kernel
def _compose(start, stop, outer, inner, scale, out):  # type: ignore[no-untyped-def]
    for x in range(start, stop):
        for y in range(inner.shape[1]):
            for z in range(inner.shape[2]):
                vx = scale * inner[x, y, z, 0]
                vy = scale * inner[x, y, z, 1]
                vz = scale * inner[x, y, z, 2]
                ux, uy, uz = read_vector(outer, np.float32(x) + vx, np.float32(y) + vy, np.float32(z) + vz)
                out[x, y, z, 0] = vx + ux
                out[x, y, z, 1] = vy + uy
                out[x, y, z, 2] = vz + uz


def compose(outer: Float32, inner: Float32, scale: float = 1.0, out: Float32 | None = None) -> Float32:
    """Displacement of ``(id + outer) o (id + scale * inner)``, both in voxels of one grid.

    Parameters
    ----------
    outer, inner : float32 array, shape (X, Y, Z, 3)
        `outer` is read by trilinear interpolation, beyond the grid at its nearest edge.
    scale : float
        Multiplies `inner`, so that a step length needs no pass of its own.
    out : float32 array, optional
        Where to write; neither input may be it.

    Examples
    --------
    >>> shift = np.ones((2, 2, 2, 3), np.float32)
    >>> float(compose(shift, shift).max())
    2.0
    """
    if out is None:
        out = np.empty_like(inner)
    run_blocks(_compose, inner.shape[0], outer, inner, np.float32(scale), out)
    return out
