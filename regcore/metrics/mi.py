"""Mutual information of whole images from a joint histogram with cubic B-spline Parzen windows.

Source: Mattes et al., IEEE Transactions on Medical Imaging 22 (2003), doi:10.1109/TMI.2003.809072.
"""

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]


@inline
def spline_weight(t):  # type: ignore[no-untyped-def]
    """Cubic B-spline at distance t."""
    t = abs(t)
    if t < 1.0:
        return 2.0 / 3.0 - t * t * (1.0 - 0.5 * t)
    if t < 2.0:
        return (2.0 - t) ** 3 / 6.0
    return 0.0


@inline
def spline_slope(t):  # type: ignore[no-untyped-def]
    """Derivative of the cubic B-spline."""
    s = abs(t)
    slope = 0.0
    if s < 1.0:
        slope = s * (1.5 * s - 2.0)
    elif s < 2.0:
        slope = -0.5 * (2.0 - s) ** 2
    return slope if t >= 0 else -slope


@kernel
def _histogram(start, stop, fixed_bin, position, weights, bins):  # type: ignore[no-untyped-def]
    counts = np.zeros((bins, bins), np.float64)
    for i in range(start, stop):
        w = weights[i]
        if w > 0:
            first = int(position[i]) - 1
            for k in range(first, first + 4):
                counts[fixed_bin[i], k] += w * spline_weight(position[i] - k)
    return counts


@kernel
def _back_project(start, stop, fixed_bin, position, weights, table, scale, out):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        slope = 0.0
        if weights[i] > 0:
            first = int(position[i]) - 1
            for k in range(first, first + 4):
                slope += table[fixed_bin[i], k] * spline_slope(position[i] - k)
        out[i] = scale * weights[i] * slope


def value_and_gradient(
    fixed: Float32, warped: Float32, weights: Float32 | None = None, bins: int = 32
) -> tuple[float, Float32]:
    """Minus the mutual information (nats), and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped, weights : float32 array, shape (X, Y, Z)
        Intensities in [0, 1]; values beyond are clamped and have no gradient.
    bins : int
        Bins of either image.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> same = value_and_gradient(image, image)[0]
    >>> other = value_and_gradient(image, image[::-1].copy())[0]
    >>> same < other < 0
    True
    """
    f, m = fixed.ravel(), warped.ravel()
    w = np.ones_like(f) if weights is None else np.ascontiguousarray(weights, np.float32).ravel()
    # the spline reaches two bins to each side, so the range of the data ends two bins inside
    fixed_bin = np.clip(f * (bins - 1) + 0.5, 0, bins - 1).astype(np.int32)
    span = bins - 5.0
    position = 2.0 + np.clip(m, 0.0, 1.0).astype(np.float64) * span
    total = max(float(w.sum(dtype=np.float64)), 1e-12)
    block = 1 << 15
    parts = run_blocks(_histogram, f.size, fixed_bin, position, w, bins, block=block)
    joint = np.sum(parts, axis=0) / total
    fixed_share = joint.sum(axis=1, keepdims=True)
    warped_share = joint.sum(axis=0, keepdims=True)
    tiny = 1e-15
    ratio = np.log(np.maximum(joint, tiny) / np.maximum(fixed_share * warped_share, tiny))
    value = -float((joint * ratio).sum())
    out = np.empty(f.size, np.float32)
    scale = -span / total
    # d(MI)/d(joint) is log(joint / (fixed * warped)) up to constants that the spline slopes sum to zero
    run_blocks(_back_project, f.size, fixed_bin, position, w, ratio, scale, out, block=block)
    out[(m < 0) | (m > 1)] = 0
    return value, out.reshape(warped.shape)
