"""Measures of entropies, from a joint histogram with cubic B-spline Parzen windows on the warped image.

Source: Mattes et al., IEEE Transactions on Medical Imaging 22 (2003), doi:10.1109/TMI.2003.809072.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import BLOCK_VOXELS, inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]
TINY = 1e-15


@inline
def spline_weights(t):  # type: ignore[no-untyped-def]
    """Cubic B-splines at distances 1 + t, t, 1 - t and 2 - t, for t in [0, 1)."""
    s = 1.0 - t
    return (
        s * s * s / 6.0,
        2.0 / 3.0 - t * t * (1.0 - 0.5 * t),
        2.0 / 3.0 - s * s * (1.0 - 0.5 * s),
        t * t * t / 6.0,
    )


@inline
def spline_slopes(t):  # type: ignore[no-untyped-def]
    """Derivatives of `spline_weights` by t."""
    s = 1.0 - t
    return -0.5 * s * s, t * (1.5 * t - 2.0), s * (2.0 - 1.5 * s), 0.5 * t * t


@kernel
def _histogram(start, stop, fixed_bin, position, weights, bins):  # type: ignore[no-untyped-def]
    counts = np.zeros((bins, bins), np.float64)
    for i in range(start, stop):
        w = weights[i]
        if w > 0:
            k = int(position[i])
            a, b, c, d = spline_weights(position[i] - k)
            row = counts[fixed_bin[i]]
            row[k - 1] += w * a
            row[k] += w * b
            row[k + 1] += w * c
            row[k + 2] += w * d
    return counts


@kernel
def _back_project(start, stop, fixed_bin, position, weights, table, scale, out):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        slope = 0.0
        if weights[i] > 0:
            k = int(position[i])
            a, b, c, d = spline_slopes(position[i] - k)
            row = table[fixed_bin[i]]
            slope = row[k - 1] * a + row[k] * b + row[k + 1] * c + row[k + 2] * d
        out[i] = scale * weights[i] * slope


@kernel
def _smooth_histogram(start, stop, fixed_position, position, weights, bins):  # type: ignore[no-untyped-def]
    counts = np.zeros((bins, bins), np.float64)
    for i in range(start, stop):
        if weights[i] > 0:
            j, k = int(fixed_position[i]), int(position[i])
            shares = spline_weights(fixed_position[i] - j)
            a, b, c, d = spline_weights(position[i] - k)
            for n in range(4):
                w, row = weights[i] * shares[n], counts[j - 1 + n]
                row[k - 1] += w * a
                row[k] += w * b
                row[k + 1] += w * c
                row[k + 2] += w * d
    return counts


@kernel
def _smooth_back_project(start, stop, fixed_position, position, weights, table, scale, out):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        slope = 0.0
        if weights[i] > 0:
            j, k = int(fixed_position[i]), int(position[i])
            shares = spline_weights(fixed_position[i] - j)
            a, b, c, d = spline_slopes(position[i] - k)
            for n in range(4):
                row = table[j - 1 + n]
                slope += shares[n] * (row[k - 1] * a + row[k] * b + row[k + 1] * c + row[k + 2] * d)
        out[i] = scale * weights[i] * slope


def of_entropies(
    measure: Callable[[float, float], tuple[float, float, float]],
    fixed: Float32,
    warped: Float32,
    weights: Float32 | None,
    bins: int,
    smooth_fixed: bool = False,
) -> tuple[float, Float32]:
    """A function of the entropies of two images, and its exact gradient with respect to `warped`.

    Parameters
    ----------
    measure : callable
        Takes the sum of the entropies of either image and the joint entropy (nats); returns a value and its
        derivatives by these two.
    fixed, warped, weights : float32 array, shape (X, Y, Z)
        Intensities in [0, 1]; values beyond are clamped and have no gradient.
    bins : int
        Bins of either image.
    smooth_fixed : bool
        Windows on the fixed image too, where it moves as well: the value then changes smoothly with either,
        and not at all if they are swapped.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> joint_entropy = of_entropies(lambda apart, joint: (joint, 0.0, 1.0), image, image, None, 32)[0]
    >>> apart = of_entropies(lambda apart, joint: (apart, 1.0, 0.0), image, image, None, 32)[0]
    >>> joint_entropy < apart
    True
    """
    f, m = fixed.ravel(), warped.ravel()
    w = np.ones_like(f) if weights is None else np.ascontiguousarray(weights, np.float32).ravel()
    # the spline reaches two bins to each side, so the range of the data ends two bins inside
    span = bins - 5.0
    position = 2.0 + np.clip(m, 0.0, 1.0).astype(np.float64) * span
    if smooth_fixed:
        fill, back_project = _smooth_histogram, _smooth_back_project
        place = 2.0 + np.clip(f, 0.0, 1.0).astype(np.float64) * span
    else:
        fill, back_project = _histogram, _back_project
        place = np.clip(f * (bins - 1) + 0.5, 0, bins - 1).astype(np.int32)
    total = max(float(w.sum(dtype=np.float64)), 1e-12)
    parts = run_blocks(fill, f.size, place, position, w, bins, block=BLOCK_VOXELS)
    joint = np.sum(parts, axis=0) / total
    shares = joint.sum(axis=1), joint.sum(axis=0), joint
    logs = [np.log(np.maximum(share, TINY)) for share in shares]
    of_fixed, of_warped, of_both = (
        -float((share * log).sum()) for share, log in zip(shares, logs, strict=True)
    )
    value, by_apart, by_joint = measure(of_fixed + of_warped, of_both)
    # the entropy's derivative by a share is minus its logarithm, up to a constant that the spline slopes sum
    # to zero; so does the entropy of the fixed image, whose shares do not change
    table = -by_apart * logs[1] - by_joint * logs[2]
    out = np.empty(f.size, np.float32)
    run_blocks(back_project, f.size, place, position, w, table, span / total, out, block=BLOCK_VOXELS)
    out[(m < 0) | (m > 1)] = 0
    return value, out.reshape(warped.shape)
