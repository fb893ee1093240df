"""Separable Gaussian smoothing of images and of vector fields."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regcore.kernels.layout import components, from_components
from regcore.kernels.parallel import inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]
NEGLIGIBLE = 1e-5
BLOCK_PLANES = 40
"""Most planes of a block; every block smooths the planes beside it once more."""


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


@inline
def _add_neighbour(line, weight, below, above):  # type: ignore[no-untyped-def]
    for i in range(len(line)):
        line[i] += weight * (below[i] + above[i])


@kernel
def _smooth_plane(source, taps_y, taps_z, padded, rows, out):  # type: ignore[no-untyped-def]
    """Smooth a plane along its rows, then its columns; edges repeat the outermost voxels."""
    ny, nz = source.shape
    ry, rz = len(taps_y) // 2, len(taps_z) // 2
    for y in range(ny):
        here, line = source[y], rows[y]
        padded[:rz] = here[0]
        padded[rz + nz :] = here[nz - 1]
        middle = padded[rz : rz + nz]
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
                padded[rz - k : rz - k + nz],
                padded[rz + k : rz + k + nz],
                taps_z[rz + k + 1],
                padded[rz - k - 1 : rz - k - 1 + nz],
                padded[rz + k + 1 : rz + k + 1 + nz],
            )
        if rz % 2:
            _add_neighbour(line, taps_z[0], padded[:nz], padded[2 * rz :])
    for y in range(ny):
        line, here = out[y], rows[y]
        for i in range(nz):
            line[i] = taps_y[ry] * here[i]
        for k in range(1, ry, 2):
            _add_neighbours(
                line,
                taps_y[ry + k],
                rows[max(y - k, 0)],
                rows[min(y + k, ny - 1)],
                taps_y[ry + k + 1],
                rows[max(y - k - 1, 0)],
                rows[min(y + k + 1, ny - 1)],
            )
        if ry % 2:
            _add_neighbour(line, taps_y[0], rows[max(y - ry, 0)], rows[min(y + ry, ny - 1)])


@kernel
def _smooth(start, stop, source, nx, taps_x, taps_y, taps_z, out):  # type: ignore[no-untyped-def]
    """Smooth stacks of `nx` planes each; smoothed planes wait in a ring for those beside them."""
    _, ny, nz = source.shape
    radius = len(taps_x) // 2
    depth = 2 * radius + 1
    ring, rows = np.empty((depth, ny, nz), np.float32), np.empty((ny, nz), np.float32)
    padded = np.empty(nz + 2 * (len(taps_z) // 2), np.float32)
    filled = 0
    for plane in range(start, stop):
        first = plane - plane % nx
        last = first + nx - 1
        if plane in (start, first):
            filled = max(plane - radius, first)
        while filled <= min(plane + radius, last):
            _smooth_plane(source[filled], taps_y, taps_z, padded, rows, ring[filled % depth])
            filled += 1
        for y in range(ny):
            line, here = out[plane, y], ring[plane % depth, y]
            for i in range(nz):
                line[i] = taps_x[radius] * here[i]
            for k in range(1, radius, 2):
                _add_neighbours(
                    line,
                    taps_x[radius + k],
                    ring[max(plane - k, first) % depth, y],
                    ring[min(plane + k, last) % depth, y],
                    taps_x[radius + k + 1],
                    ring[max(plane - k - 1, first) % depth, y],
                    ring[min(plane + k + 1, last) % depth, y],
                )
            if radius % 2:
                before = ring[max(plane - radius, first) % depth, y]
                _add_neighbour(line, taps_x[0], before, ring[min(plane + radius, last) % depth, y])


def gaussian_smooth(
    array: Float32, sigma_vox: float | Sequence[float], out: Float32 | None = None
) -> Float32:
    """Smooth an image or a vector field by a Gaussian; the outermost voxels are repeated beyond the edge.

    Parameters
    ----------
    array : float32 array, shape (X, Y, Z) or (X, Y, Z, C)
    sigma_vox : float or 3 floats
        Standard deviation along each axis, voxels; a singleton axis is not smoothed.
    out : float32 array of the same shape, optional
        Where to write, a field from `empty_field`; it may not be `array`.

    Examples
    --------
    >>> float(gaussian_smooth(np.ones((5, 5, 5), np.float32), 1.0).round(6).min())
    1.0
    """
    sigmas = np.broadcast_to(np.asarray(sigma_vox, np.float64), (3,))
    nx, ny, nz = array.shape[:3]
    taps = [gaussian_taps(float(s) if n > 1 else 0.0) for s, n in zip(sigmas, array.shape[:3], strict=True)]
    if array.ndim == 4:
        source = components(array)
        target = np.empty_like(source) if out is None else components(out)
        result = from_components(target)
    else:
        source = np.ascontiguousarray(array, np.float32)
        target = result = np.empty_like(source) if out is None else out
    # the components of a field are so many stacks of planes one upon the other
    planes = source.reshape(-1, ny, nz), nx, *taps, target.reshape(-1, ny, nz)
    count = len(planes[0])
    # an image has few planes: four blocks at least keep as many threads busy
    run_blocks(_smooth, count, *planes, block=min(BLOCK_PLANES, -(-count // 4)))
    return result
