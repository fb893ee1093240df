"""Normalised cross-correlation of whole images."""

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import BLOCK_VOXELS, kernel, run_blocks

Float32 = npt.NDArray[np.float32]


@kernel
def _sums(start, stop, fixed, warped, weights):  # type: ignore[no-untyped-def]
    w, wf, wm = 0.0, 0.0, 0.0
    for i in range(start, stop):
        weight = np.float64(weights[i])
        w += weight
        wf += weight * fixed[i]
        wm += weight * warped[i]
    return w, wf, wm


@kernel
def _moments(start, stop, fixed, warped, weights, mean_f, mean_m):  # type: ignore[no-untyped-def]
    ff, mm, fm = 0.0, 0.0, 0.0
    for i in range(start, stop):
        f, m = fixed[i] - mean_f, warped[i] - mean_m
        ff += weights[i] * f * f
        mm += weights[i] * m * m
        fm += weights[i] * f * m
    return ff, mm, fm


@kernel
def _gradient(start, stop, fixed, warped, weights, mean_f, mean_m, slope, scale, out):  # type: ignore
    for i in range(start, stop):
        out[i] = scale * weights[i] * ((fixed[i] - mean_f) - slope * (warped[i] - mean_m))


def value(fixed: Float32, warped: Float32, weights: Float32 | None = None) -> float:
    """One minus the weighted correlation coefficient.

    Parameters
    ----------
    fixed, warped, weights : float32 array, shape (X, Y, Z)

    Examples
    --------
    >>> image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    >>> round(value(image, -image), 6)
    2.0
    """
    weights = np.ones_like(fixed) if weights is None else weights
    _, (ff, mm, fm) = _means_and_moments(fixed.ravel(), warped.ravel(), weights.ravel())
    norm = np.sqrt(ff * mm)
    return 1.0 if norm < 1e-12 else float(1.0 - fm / norm)


def value_and_gradient(
    fixed: Float32, warped: Float32, weights: Float32 | None = None
) -> tuple[float, Float32]:
    """One minus the weighted correlation coefficient, and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped, weights : float32 array, shape (X, Y, Z)

    Returns
    -------
    value : float
        0 for images that agree up to a positive scale and an offset; 1 where either is constant.
    gradient : float32 array, shape (X, Y, Z)

    Examples
    --------
    >>> image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    >>> value, gradient = value_and_gradient(image, 3 * image + 1)
    >>> round(value, 6)
    0.0
    """
    weights = np.ones_like(fixed) if weights is None else weights
    flat = fixed.ravel(), warped.ravel(), weights.ravel()
    means, (ff, mm, fm) = _means_and_moments(*flat)
    norm = np.sqrt(ff * mm)
    if norm < 1e-12:
        return 1.0, np.zeros_like(warped)
    gradient = np.empty_like(warped)
    # the means drop out of the derivative: weighted sums of f and of m are zero
    scales = fm / mm, -1 / norm
    run_blocks(_gradient, fixed.size, *flat, *means, *scales, gradient.ravel(), block=BLOCK_VOXELS)
    return float(1.0 - fm / norm), gradient


def _means_and_moments(
    fixed: Float32, warped: Float32, weights: Float32
) -> tuple[tuple[float, float], tuple[float, float, float]]:
    """Weighted means of the two, and the sums of their weighted squares and products about these."""
    size, block = fixed.size, BLOCK_VOXELS
    w, wf, wm = np.sum(run_blocks(_sums, size, fixed, warped, weights, block=block), axis=0)
    means = wf / max(w, 1e-12), wm / max(w, 1e-12)
    ff, mm, fm = np.sum(run_blocks(_moments, size, fixed, warped, weights, *means, block=block), axis=0)
    return means, (ff, mm, fm)
