"""Normalised cross-correlation of whole images."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


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
    w = np.float64(1.0) if weights is None else weights.astype(np.float64)
    total = float(fixed.size if weights is None else max(w.sum(), 1e-12))
    f = fixed - (w * fixed).sum(dtype=np.float64) / total
    m = warped - (w * warped).sum(dtype=np.float64) / total
    ff, mm, fm = float((w * f * f).sum()), float((w * m * m).sum()), float((w * f * m).sum())
    norm = np.sqrt(ff * mm)
    if norm < 1e-12:
        return 1.0, np.zeros_like(warped)
    # the means drop out of the derivative: weighted sums of f and of m are zero
    gradient = -(w / norm) * (f - (fm / mm) * m)
    return float(1.0 - fm / norm), gradient.astype(np.float32)
