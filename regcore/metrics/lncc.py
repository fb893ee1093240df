"""Local normalised cross-correlation: squared correlation in a cubic window around every voxel.

Source: Avants et al., Medical Image Analysis 12 (2008), doi:10.1016/j.media.2007.06.004. Variances and
covariance carry a floor, as if both images had the same faint noise on top. So noise is not amplified where
there is no contrast, windows that are alike count as matched however flat they are, and images that are the
same have no force between them. With a floor on the variances alone, every flat window would gain by
contrast and pull the moving image's edges in, away from the true map.
"""

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import even_blocks, inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]
VARIANCE_FLOOR = 1e-3
"""Of noise with a standard deviation of 3 % of the range of intensities."""
BLOCK_PLANES = 24
"""Most planes of a block; every block sums the windows of `radius` planes beside it once more."""


@kernel
def window_counts(size, radius):  # type: ignore[no-untyped-def]
    """Number of voxels in the window of every voxel of an axis."""
    counts = np.empty(size, np.float32)
    for i in range(size):
        counts[i] = np.float32(min(i + radius, size - 1) - max(i - radius, 0) + 1)
    return counts


@inline
def _add_lines(line, first, second):  # type: ignore[no-untyped-def]
    for z in range(len(line)):
        line[z] += first[z] + second[z]


@kernel
def add_windows(source, radius, rows, out):  # type: ignore[no-untyped-def]
    """Sums over a window of rows and columns of one plane, clipped at its edges; `rows` is scratch."""
    ny, nz = source.shape
    padded = np.zeros(nz + 2 * radius, np.float32)
    middle = padded[radius : radius + nz]
    for y in range(ny):
        here, line = source[y], rows[y]
        for z in range(nz):
            middle[z] = here[z]
        for z in range(nz):
            line[z] = padded[z]
        # two shifts at a time, as slices of their own, because only indices that start at zero are vectorised
        for k in range(1, 2 * radius + 1, 2):
            _add_lines(line, padded[k : k + nz], padded[k + 1 : k + 1 + nz])
    for y in range(ny):
        low, high = max(y - radius, 0), min(y + radius, ny - 1)
        line, lowest = out[y], rows[low]
        for z in range(nz):
            line[z] = lowest[z]
        for other in range(low + 1, high, 2):
            _add_lines(line, rows[other], rows[other + 1])
        if (high - low) % 2:
            last = rows[high]
            for z in range(nz):
                line[z] += last[z]


@kernel
def _add_planes(planes, low, high, total):  # type: ignore[no-untyped-def]
    """Sum of the planes `low` to `high` of a ring."""
    depth = len(planes)
    ny, nz = total.shape
    for y in range(ny):
        line, lowest = total[y], planes[low % depth, y]
        for z in range(nz):
            line[z] = lowest[z]
        for other in range(low + 1, high, 2):
            _add_lines(line, planes[other % depth, y], planes[(other + 1) % depth, y])
        if (high - low) % 2:
            last = planes[high % depth, y]
            for z in range(nz):
                line[z] += last[z]


@kernel
def _statistics(start, stop, fixed, radius, floor, out):  # type: ignore[no-untyped-def]
    """Mean of the fixed image in every window, and one over its variance."""
    nx, ny, nz = fixed.shape
    depth = 2 * radius + 1
    planes = np.empty((2, depth, ny, nz), np.float32)
    total = np.empty((2, ny, nz), np.float32)
    square, rows = np.empty((ny, nz), np.float32), np.empty((ny, nz), np.float32)
    counts_x, counts_y = window_counts(nx, radius), window_counts(ny, radius)
    counts_z = window_counts(nz, radius)
    filled = max(start - radius, 0)
    one, zero = np.float32(1), np.float32(0)
    for x in range(start, stop):
        low, high = max(x - radius, 0), min(x + radius, nx - 1)
        while filled <= high:
            for y in range(ny):
                here, line = fixed[filled, y], square[y]
                for z in range(nz):
                    line[z] = here[z] * here[z]
            add_windows(fixed[filled], radius, rows, planes[0, filled % depth])
            add_windows(square, radius, rows, planes[1, filled % depth])
            filled += 1
        for i in range(2):
            _add_planes(planes[i], low, high, total[i])
        for y in range(ny):
            inverse = one / (counts_x[x] * counts_y[y])
            sum_f, sum_ff, mean, precision = total[0, y], total[1, y], out[0, x, y], out[1, x, y]
            for z in range(nz):
                share = inverse / counts_z[z]
                m = sum_f[z] * share
                mean[z] = m
                precision[z] = one / (max(sum_ff[z] * share - m * m, zero) + floor)


@kernel
def _coefficients(start, stop, fixed, prepared, warped, weights, radius, floor, out):  # type: ignore
    """Per window: the weights of fixed, warped and one in the gradient.

    Returns the sums of the weighted squared correlations and of the weights.
    """
    nx, ny, nz = fixed.shape
    depth = 2 * radius + 1
    planes = np.empty((3, depth, ny, nz), np.float32)
    total = np.empty((3, ny, nz), np.float32)
    square, product = np.empty((ny, nz), np.float32), np.empty((ny, nz), np.float32)
    rows = np.empty((ny, nz), np.float32)
    counts_x, counts_y = window_counts(nx, radius), window_counts(ny, radius)
    counts_z = window_counts(nz, radius)
    filled = max(start - radius, 0)
    one, two, zero = np.float32(1), np.float32(2), np.float32(0)
    value, total_weight = np.float64(0.0), np.float64(0.0)
    for x in range(start, stop):
        low, high = max(x - radius, 0), min(x + radius, nx - 1)
        while filled <= high:
            for y in range(ny):
                f, w, ww, fw = fixed[filled, y], warped[filled, y], square[y], product[y]
                for z in range(nz):
                    ww[z] = w[z] * w[z]
                    fw[z] = f[z] * w[z]
            slot = filled % depth
            add_windows(warped[filled], radius, rows, planes[0, slot])
            add_windows(square, radius, rows, planes[1, slot])
            add_windows(product, radius, rows, planes[2, slot])
            filled += 1
        for i in range(3):
            _add_planes(planes[i], low, high, total[i])
        for y in range(ny):
            inverse = one / (counts_x[x] * counts_y[y])
            sum_w, sum_ww, sum_fw = total[0, y], total[1, y], total[2, y]
            # a plane of weights that stands for all
            weight = weights[min(x, len(weights) - 1), y]
            mean, precision = prepared[0, x, y], prepared[1, x, y]
            of_fixed, of_warped, of_one = out[0, x, y], out[1, x, y], out[2, x, y]
            row_value, row_weight = zero, zero
            for z in range(nz):
                share = inverse / counts_z[z]
                m = sum_w[z] * share
                covariance = sum_fw[z] * share - mean[z] * m + floor
                inverse_w = one / (max(sum_ww[z] * share - m * m, zero) + floor)
                slope = weight[z] * covariance * precision[z] * inverse_w
                row_value += slope * covariance
                row_weight += weight[z]
                a = two * slope * share
                b = a * covariance * inverse_w
                of_fixed[z] = a
                of_warped[z] = b
                of_one[z] = a * mean[z] - b * m
            value += np.float64(row_value)
            total_weight += np.float64(row_weight)
    return value, total_weight


@kernel
def _gradient(start, stop, fixed, warped, coefficients, radius, scale, out):  # type: ignore[no-untyped-def]
    nx, ny, nz = fixed.shape
    depth = 2 * radius + 1
    planes = np.empty((3, depth, ny, nz), np.float32)
    total = np.empty((3, ny, nz), np.float32)
    rows = np.empty((ny, nz), np.float32)
    filled = max(start - radius, 0)
    for x in range(start, stop):
        low, high = max(x - radius, 0), min(x + radius, nx - 1)
        while filled <= high:
            for i in range(3):
                add_windows(coefficients[i, filled], radius, rows, planes[i, filled % depth])
            filled += 1
        for i in range(3):
            _add_planes(planes[i], low, high, total[i])
        for y in range(ny):
            # the row waits beside `out`, which may be `warped`
            f, w, row, line = fixed[x, y], warped[x, y], rows[0], out[x, y]
            of_fixed, of_warped, of_one = total[0, y], total[1, y], total[2, y]
            for z in range(nz):
                row[z] = scale * (w[z] * of_warped[z] + of_one[z] - f[z] * of_fixed[z])
            for z in range(nz):
                line[z] = row[z]


def prepare(fixed: Float32, radius: int = 2) -> Float32:
    """What `value_and_gradient` needs to know of the fixed image alone, shape (2, X, Y, Z).

    The mean in the window of every voxel, and one over the variance there.
    """
    out = np.empty((2, *fixed.shape), np.float32)
    fixed, floor = np.ascontiguousarray(fixed, np.float32), np.float32(VARIANCE_FLOOR)
    run_blocks(
        _statistics, fixed.shape[0], fixed, radius, floor, out, block=even_blocks(len(fixed), BLOCK_PLANES)
    )
    return out


def value_and_gradient(
    fixed: Float32,
    warped: Float32,
    weights: Float32 | None = None,
    radius: int = 2,
    out: Float32 | None = None,
    scratch: Float32 | None = None,
    prepared: Float32 | None = None,
) -> tuple[float, Float32]:
    """One minus the weighted mean squared local correlation, and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped : float32 array, shape (X, Y, Z)
        Intensities of a range of about one (the floor, 1e-3, is in these units).
    weights : float32 array, shape (X, Y, Z), optional
        How much the window centred on each voxel counts.
    radius : int
        Half width of the window, voxels.
    out, scratch : float32 array, shapes (X, Y, Z) and (3, X, Y, Z), optional
        Buffers to reuse; `out`, where the gradient goes, may be `warped`.
    prepared : float32 array, shape (2, X, Y, Z), optional
        Of the fixed image and this radius, from `prepare`.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> value, gradient = value_and_gradient(image, 2 * image)
    >>> bool(value < 0.01)
    True
    """
    if weights is None:
        weights = np.ones((1, *fixed.shape[1:]), np.float32)
    out = np.empty_like(fixed) if out is None else out
    scratch = np.empty((3, *fixed.shape), np.float32) if scratch is None else scratch
    prepared = prepare(fixed, radius) if prepared is None else prepared
    size, floor = fixed.shape[0], np.float32(VARIANCE_FLOOR)
    block = even_blocks(size, BLOCK_PLANES)
    arrays = fixed, prepared, warped, weights, radius, floor, scratch
    parts = run_blocks(_coefficients, size, *arrays, block=block)
    total_weight = max(sum(part[1] for part in parts), 1.0)
    scale = np.float32(1 / total_weight)
    run_blocks(_gradient, size, fixed, warped, scratch, radius, scale, out, block=block)
    return 1.0 - sum(part[0] for part in parts) / total_weight, out
