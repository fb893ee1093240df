"""Separable Gaussian smoothing of images and of vector fields."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regcore.kernels.layout import components, empty_field, from_components
from regcore.kernels.parallel import inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]
NEGLIGIBLE = 1e-5


def gaussian_taps(sigma_vox: float, truncate: float = 3.0) -> Float32:
    """Taps of a Gaussian sampled at voxel centres, summing to one; a single tap for a vanishing sigma.

    Examples
    --------
    >>> gaussian_taps(0.0)
    array([1.], dtype=float32)
    """
    radius = int(np.ceil(truncate * sigma_vox)) if sigma_vox > 0.05 else 0
    # what a single-precision sum would not notice is not worth a pass
    while radius and np.exp(-0.5 * (radius / sigma_vox) ** 2) < NEGLIGIBLE:
        radius -= 1
    x = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (x / sigma_vox) ** 2) if radius else np.ones(1)
    return np.asarray(taps / taps.sum(), np.float32)


@inline
def _add_neighbours(line, weight, below, above, weight_2, below_2, above_2):  # type: ignore[no-untyped-def]
    for i in range(len(line)):
        line[i] += weight * (below[i] + above[i]) + weight_2 * (below_2[i] + above_2[i])


@kernel
def _smooth_rows(start, stop, source, taps_y, taps_z, out):  # type: ignore[no-untyped-def]
    """Smooth planes along rows and columns; edges repeat the outermost voxels."""
    _, ny, nz = source.shape
    ry, rz = len(taps_y) // 2, len(taps_z) // 2
    row = np.empty(nz + 2 * rz, np.float32)
    plane = np.empty((ny, nz), np.float32)
    for x in range(start, stop):
        for y in range(ny):
            here = source[x, y]
            row[:rz] = here[0]
            row[rz + nz :] = here[nz - 1]
            line, middle = plane[y], row[rz : rz + nz]
            for i in range(nz):
                middle[i] = here[i]
            for i in range(nz):
                line[i] = taps_z[rz] * middle[i]
            # a Gaussian is symmetric: one multiplication serves both neighbours, and two pairs go at a time;
            # slices of their own, because only indices that start at zero are vectorised
            for k in range(1, rz, 2):
                _add_neighbours(
                    line,
                    taps_z[rz + k],
                    row[rz - k : rz - k + nz],
                    row[rz + k : rz + k + nz],
                    taps_z[rz + k + 1],
                    row[rz - k - 1 : rz - k - 1 + nz],
                    row[rz + k + 1 : rz + k + 1 + nz],
                )
            if rz % 2:
                before, after, weight = row[:nz], row[2 * rz :], taps_z[0]
                for i in range(nz):
                    line[i] += weight * (before[i] + after[i])
        for y in range(ny):
            line, here = out[x, y], plane[y]
            for i in range(nz):
                line[i] = taps_y[ry] * here[i]
            for k in range(1, ry, 2):
                _add_neighbours(
                    line,
                    taps_y[ry + k],
                    plane[max(y - k, 0)],
                    plane[min(y + k, ny - 1)],
                    taps_y[ry + k + 1],
                    plane[max(y - k - 1, 0)],
                    plane[min(y + k + 1, ny - 1)],
                )
            if ry % 2:
                before, after, weight = plane[max(y - ry, 0)], plane[min(y + ry, ny - 1)], taps_y[0]
                for i in range(nz):
                    line[i] += weight * (before[i] + after[i])


@kernel
def _smooth_planes(start, stop, source, nx, taps, out):  # type: ignore[no-untyped-def]
    """Smooth across the planes of stacks of `nx` planes each."""
    _, ny, nz = source.shape
    radius = len(taps) // 2
    for plane in range(start, stop):
        first = plane - plane % nx
        last = first + nx - 1
        for y in range(ny):
            line, here = out[plane, y], source[plane, y]
            for i in range(nz):
                line[i] = taps[radius] * here[i]
            for k in range(1, radius, 2):
                _add_neighbours(
                    line,
                    taps[radius + k],
                    source[max(plane - k, first), y],
                    source[min(plane + k, last), y],
                    taps[radius + k + 1],
                    source[max(plane - k - 1, first), y],
                    source[min(plane + k + 1, last), y],
                )
            if radius % 2:
                before, after = source[max(plane - radius, first), y], source[min(plane + radius, last), y]
                weight = taps[0]
                for i in range(nz):
                    line[i] += weight * (before[i] + after[i])


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
    sigmas = np.broadcast_to(np.asarray(sigma_vox, np.float64), (3,))
    nx, ny, nz = array.shape[:3]
    taps = [gaussian_taps(float(s) if n > 1 else 0.0) for s, n in zip(sigmas, array.shape[:3], strict=True)]
    if array.ndim == 4:
        target = components(empty_field(array.shape[:3], array.shape[3]) if out is None else out)
        result = from_components(target)
    else:
        target = result = np.empty(array.shape, np.float32) if out is None else out
    # the components of a field are so many stacks of planes one upon the other
    source, target = _planes(array), target.reshape(-1, ny, nz)
    first = target if len(taps[0]) == 1 else np.empty_like(source) if scratch is None else _planes(scratch)
    run_blocks(_smooth_rows, len(source), source, taps[1], taps[2], first)
    if len(taps[0]) > 1:
        run_blocks(_smooth_planes, len(source), first, nx, taps[0], target)
    return result


def _planes(array: Float32) -> Float32:
    parts = components(array) if array.ndim == 4 else np.ascontiguousarray(array, np.float32)
    return parts.reshape(-1, *array.shape[1:3])
