"""Separable Gaussian smoothing of images and of vector fields."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import kernel, run_blocks

Float32 = npt.NDArray[np.float32]


def gaussian_taps(sigma_vox: float, truncate: float = 3.0) -> Float32:
    """Taps of a Gaussian sampled at voxel centres, summing to one; a single tap for a vanishing sigma.

    Examples
    --------
    >>> gaussian_taps(0.0)
    array([1.], dtype=float32)
    """
    radius = int(np.ceil(truncate * sigma_vox)) if sigma_vox > 0.05 else 0
    x = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (x / sigma_vox) ** 2) if radius else np.ones(1)
    return np.asarray(taps / taps.sum(), np.float32)


@kernel
def _smooth_rows(start, stop, source, nc, taps_y, taps_z, out):  # type: ignore[no-untyped-def]
    """Smooth planes (rows, columns x `nc` channels) along rows and columns; edges repeat the outermost."""
    _, ny, width = source.shape
    nz = width // nc
    ry, rz = len(taps_y) // 2, len(taps_z) // 2
    row = np.empty((nz + 2 * rz) * nc, np.float32)
    plane = np.empty((ny, width), np.float32)
    for x in range(start, stop):
        for y in range(ny):
            here = source[x, y]
            for i in range(width):
                row[rz * nc + i] = here[i]
            for k in range(rz):
                for c in range(nc):
                    row[k * nc + c] = here[c]
                    row[(rz + nz + k) * nc + c] = here[width - nc + c]
            line = plane[y]
            middle = row[rz * nc : rz * nc + width]
            for i in range(width):
                line[i] = taps_z[rz] * middle[i]
            # a Gaussian is symmetric: one multiplication serves both neighbours;
            # slices of their own, because only indices that start at zero are vectorised
            for k in range(1, rz + 1):
                weight = taps_z[rz + k]
                below = row[(rz - k) * nc : (rz - k) * nc + width]
                above = row[(rz + k) * nc : (rz + k) * nc + width]
                for i in range(width):
                    line[i] += weight * (below[i] + above[i])
        for y in range(ny):
            line = out[x, y]
            here = plane[y]
            for i in range(width):
                line[i] = taps_y[ry] * here[i]
            for k in range(1, ry + 1):
                weight = taps_y[ry + k]
                below_line = plane[max(y - k, 0)]
                above_line = plane[min(y + k, ny - 1)]
                for i in range(width):
                    line[i] += weight * (below_line[i] + above_line[i])


@kernel
def _smooth_planes(start, stop, source, taps, out):  # type: ignore[no-untyped-def]
    nx, ny, nw = source.shape
    radius = len(taps) // 2
    for x in range(start, stop):
        for y in range(ny):
            line = out[x, y]
            here = source[x, y]
            for i in range(nw):
                line[i] = taps[radius] * here[i]
            for k in range(1, radius + 1):
                weight = taps[radius + k]
                below = source[max(x - k, 0), y]
                above = source[min(x + k, nx - 1), y]
                for i in range(nw):
                    line[i] += weight * (below[i] + above[i])


def gaussian_smooth(
    array: Float32,
    sigma_vox: float | Sequence[float],
    scratch: Float32 | None = None,
    out: Float32 | None = None,
) -> Float32:
    """Smooth an image or a vector field by a Gaussian; the outermost voxels are repeated beyond the edge.

    Parameters
    ----------
    array : float32 array, shape (X, Y, Z) or (X, Y, Z, C)
    sigma_vox : float or 3 floats
        Standard deviation along each axis, voxels; a singleton axis is not smoothed.
    scratch, out : float32 array of the same shape, optional
        Buffers to reuse; `out` may be `array`, `scratch` may not.

    Examples
    --------
    >>> float(gaussian_smooth(np.ones((5, 5, 5), np.float32), 1.0).round(6).min())
    1.0
    """
    array = np.ascontiguousarray(array, np.float32)
    sigmas = np.broadcast_to(np.asarray(sigma_vox, np.float64), (3,))
    nx, ny, nz = array.shape[:3]
    taps = [gaussian_taps(float(s) if n > 1 else 0.0) for s, n in zip(sigmas, array.shape[:3], strict=True)]
    scratch = np.empty_like(array) if scratch is None else scratch
    out = np.empty_like(array) if out is None else out
    source = array.reshape(nx, ny, -1)
    width = source.shape[2]
    first = scratch if len(taps[0]) > 1 else out
    run_blocks(_smooth_rows, nx, source, width // nz, taps[1], taps[2], first.reshape(nx, ny, width))
    if len(taps[0]) > 1:
        run_blocks(_smooth_planes, nx, scratch.reshape(nx, ny, width), taps[0], out.reshape(nx, ny, width))
    return out
