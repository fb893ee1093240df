"""Sum of squared differences, as a weighted mean."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def value_and_gradient(
    fixed: Float32, warped: Float32, weights: Float32 | None = None
) -> tuple[float, Float32]:
    """Weighted mean squared difference and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped, weights : float32 array, shape (X, Y, Z)

    Examples
    --------
    >>> value, gradient = value_and_gradient(np.zeros((2, 1, 1), np.float32), np.ones((2, 1, 1), np.float32))
    >>> value, gradient.ravel()
    (1.0, array([1., 1.], dtype=float32))
    """
    difference = warped - fixed
    weighted = difference if weights is None else difference * weights
    total = float(fixed.size if weights is None else max(weights.sum(dtype=np.float64), 1.0))
    value = float((weighted * difference).sum(dtype=np.float64)) / total
    return value, np.float32(2.0 / total) * weighted
