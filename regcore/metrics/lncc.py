"""Local normalised cross-correlation: squared correlation in a cubic window around every voxel.

Source: Avants et al., Medical Image Analysis 12 (2008), doi:10.1016/j.media.2007.06.004. The variances carry
a floor, so that windows without contrast count as uncorrelated instead of amplifying noise.
"""

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]
VARIANCE_FLOOR = 1e-4


@inline
def add_windows(source, radius, row, out):  # type: ignore[no-untyped-def]
    """Sums over a window of rows and columns of one plane, clipped at its edges."""
    ny, nz = source.shape
    for y in range(ny):
        here, line = source[y], row[y]
        for z in range(nz):
            line[z] = here[z]
        # slices of their own, because only indices that start at zero are vectorised
        for k in range(1, min(radius, nz - 1) + 1):
            after, before = here[k:], line[k:]
            for z in range(nz - k):
                line[z] += after[z]
            for z in range(nz - k):
                before[z] += here[z]
    for y in range(ny):
        low, high = max(y - radius, 0), min(y + radius, ny - 1)
        line, lowest = out[y], row[low]
        for z in range(nz):
            line[z] = lowest[z]
        for other in range(low + 1, high + 1):
            add = row[other]
            for z in range(nz):
                line[z] += add[z]


@kernel
def _coefficients(start, stop, fixed, warped, weights, radius, floor, out):  # type: ignore
    """Per window: the weights of fixed, warped and one in the gradient; returns the sum of correlations."""
    nx, ny, nz = fixed.shape
    depth = 2 * radius + 1
    sums = np.empty((5, depth, ny, nz), np.float32)
    total = np.empty((5, nz), np.float32)
    product = np.empty((ny, nz), np.float32)
    row = np.empty((ny, nz), np.float32)
    value = np.float64(0.0)
    filled = max(start - radius, 0)
    for x in range(start, stop):
        low, high = max(x - radius, 0), min(x + radius, nx - 1)
        while filled <= high:
            slot = filled % depth
            f, w = fixed[filled], warped[filled]
            add_windows(f, radius, row, sums[0, slot])
            add_windows(w, radius, row, sums[1, slot])
            for y in range(ny):
                for z in range(nz):
                    product[y, z] = f[y, z] * f[y, z]
            add_windows(product, radius, row, sums[2, slot])
            for y in range(ny):
                for z in range(nz):
                    product[y, z] = w[y, z] * w[y, z]
            add_windows(product, radius, row, sums[3, slot])
            for y in range(ny):
                for z in range(nz):
                    product[y, z] = f[y, z] * w[y, z]
            add_windows(product, radius, row, sums[4, slot])
            filled += 1
        nx_window = high - low + 1
        for y in range(ny):
            for i in range(5):
                line = total[i]
                for z in range(nz):
                    line[z] = sums[i, low % depth, y, z]
                for other in range(low + 1, high + 1):
                    plane = sums[i, other % depth, y]
                    for z in range(nz):
                        line[z] += plane[z]
            ny_window = min(y + radius, ny - 1) - max(y - radius, 0) + 1
            row_value = np.float32(0)
            for z in range(nz):
                count = nx_window * ny_window * (min(z + radius, nz - 1) - max(z - radius, 0) + 1)
                share = np.float32(1) / np.float32(count)
                mean_f = total[0, z] * share
                mean_w = total[1, z] * share
                variance_f = max(total[2, z] * share - mean_f * mean_f, np.float32(0)) + floor
                variance_w = max(total[3, z] * share - mean_w * mean_w, np.float32(0)) + floor
                covariance = total[4, z] * share - mean_f * mean_w
                weight = weights[x, y, z]
                slope = covariance / (variance_f * variance_w)
                row_value += weight * slope * covariance
                a = np.float32(2) * weight * slope * share
                b = a * covariance / variance_w
                out[0, x, y, z] = a
                out[1, x, y, z] = b
                out[2, x, y, z] = a * mean_f - b * mean_w
            value += np.float64(row_value)
    return value


@kernel
def _gradient(start, stop, fixed, warped, coefficients, radius, scale, out):  # type: ignore[no-untyped-def]
    nx, ny, nz = fixed.shape
    depth = 2 * radius + 1
    sums = np.empty((3, depth, ny, nz), np.float32)
    total = np.empty((3, nz), np.float32)
    row = np.empty((ny, nz), np.float32)
    filled = max(start - radius, 0)
    for x in range(start, stop):
        low, high = max(x - radius, 0), min(x + radius, nx - 1)
        while filled <= high:
            for i in range(3):
                add_windows(coefficients[i, filled], radius, row, sums[i, filled % depth])
            filled += 1
        for y in range(ny):
            for i in range(3):
                line = total[i]
                for z in range(nz):
                    line[z] = sums[i, low % depth, y, z]
                for other in range(low + 1, high + 1):
                    plane = sums[i, other % depth, y]
                    for z in range(nz):
                        line[z] += plane[z]
            for z in range(nz):
                force = fixed[x, y, z] * total[0, z] - warped[x, y, z] * total[1, z] - total[2, z]
                out[x, y, z] = -scale * force


def value_and_gradient(
    fixed: Float32,
    warped: Float32,
    weights: Float32 | None = None,
    radius: int = 2,
    out: Float32 | None = None,
    scratch: Float32 | None = None,
) -> tuple[float, Float32]:
    """One minus the weighted mean squared local correlation, and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped : float32 array, shape (X, Y, Z)
        Intensities of a range of about one (the variance floor, 1e-4, is in these units).
    weights : float32 array, shape (X, Y, Z), optional
        How much the window centred on each voxel counts.
    radius : int
        Half width of the window, voxels.
    out, scratch : float32 array, shapes (X, Y, Z) and (3, X, Y, Z), optional
        Buffers to reuse.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> value, gradient = value_and_gradient(image, 2 * image)
    >>> bool(value < 0.01)
    True
    """
    if weights is None:
        weights = np.broadcast_to(np.ones(1, np.float32), fixed.shape).copy()
    out = np.empty_like(fixed) if out is None else out
    scratch = np.empty((3, *fixed.shape), np.float32) if scratch is None else scratch
    total_weight = max(float(weights.sum(dtype=np.float64)), 1.0)
    floor = np.float32(VARIANCE_FLOOR)
    parts = run_blocks(_coefficients, fixed.shape[0], fixed, warped, weights, radius, floor, scratch)
    run_blocks(_gradient, fixed.shape[0], fixed, warped, scratch, radius, np.float32(1 / total_weight), out)
    return 1.0 - sum(parts) / total_weight, out
