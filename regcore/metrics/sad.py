"""Sum of absolute differences, as a weighted mean: outliers count less than with squared differences."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def value_and_gradient(
    fixed: Float32, warped: Float32, weights: Float32 | None = None, epsilon: float = 0.01
) -> tuple[float, Float32]:
    """Weighted mean of ``sqrt(d^2 + epsilon^2) - epsilon`` and its exact gradient with respect to `warped`.

    Differences d well above `epsilon` count as their absolute value, those well below as their square over
    ``2 epsilon`` (the pseudo-Huber loss), so that there is a gradient everywhere.

    Parameters
    ----------
    fixed, warped, weights : float32 array, shape (X, Y, Z)
    epsilon : float
        Above zero, in the unit of the intensities.

    Examples
    --------
    >>> zero, three = np.zeros((2, 1, 1), np.float32), np.full((2, 1, 1), 3, np.float32)
    >>> value, gradient = value_and_gradient(zero, three, epsilon=4.0)
    >>> value, gradient.ravel()
    (1.0, array([0.3, 0.3], dtype=float32))
    """
    difference = warped - fixed
    length = np.sqrt(difference * difference + np.float32(epsilon**2))
    total = float(fixed.size if weights is None else max(weights.sum(dtype=np.float64), 1.0))
    difference /= length
    length -= np.float32(epsilon)
    if weights is not None:
        difference *= weights
        length *= weights
    difference *= np.float32(1 / total)
    return float(length.sum(dtype=np.float64)) / total, difference
