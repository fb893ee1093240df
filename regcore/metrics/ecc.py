"""Entropy correlation coefficient: mutual information as a share of the mean entropy of the two images.

Source: Maes et al., IEEE Transactions on Medical Imaging 16 (1997), doi:10.1109/42.563664.
"""

import numpy as np
import numpy.typing as npt

from regcore.metrics.histogram import TINY, of_entropies

Float32 = npt.NDArray[np.float32]


def _measure(apart: float, joint: float) -> tuple[float, float, float]:
    shared, apart = apart - joint, max(apart, TINY)
    return 1 - 2 * shared / apart, -2 * joint / apart**2, 2 / apart


def value_and_gradient(
    fixed: Float32,
    warped: Float32,
    weights: Float32 | None = None,
    bins: int = 32,
    smooth_fixed: bool = False,
) -> tuple[float, Float32]:
    """One minus ``2 MI / (H(fixed) + H(warped))``, and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped, weights : float32 array, shape (X, Y, Z)
        Intensities in [0, 1]; values beyond are clamped and have no gradient.
    bins : int
        Bins of either image.
    smooth_fixed : bool
        See `regcore.metrics.histogram.of_entropies`.

    Returns
    -------
    value : float
        1 for images that tell nothing of each other, towards 0 where one determines the other.
    gradient : float32 array, shape (X, Y, Z)

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> same = value_and_gradient(image, image)[0]
    >>> other = value_and_gradient(image, image[::-1].copy())[0]
    >>> 0 < same < other < 1
    True
    """
    return of_entropies(_measure, fixed, warped, weights, bins, smooth_fixed)
