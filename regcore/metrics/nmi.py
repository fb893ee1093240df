"""Normalised mutual information of whole images, which depends less on their overlap than mutual information.

Source: Studholme et al., Pattern Recognition 32 (1999), doi:10.1016/S0031-3203(98)00091-0.
"""

import numpy as np
import numpy.typing as npt

from regcore.metrics.histogram import TINY, of_entropies

Float32 = npt.NDArray[np.float32]


def _measure(apart: float, joint: float) -> tuple[float, float, float]:
    shared, joint = apart - joint, max(joint, TINY)
    return -shared / joint, -1 / joint, apart / joint**2


def value_and_gradient(
    fixed: Float32,
    warped: Float32,
    weights: Float32 | None = None,
    bins: int = 32,
    smooth_fixed: bool = False,
) -> tuple[float, Float32]:
    """One minus Studholme's ``(H(fixed) + H(warped)) / H(fixed, warped)``, and its exact gradient.

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
        0 for images that tell nothing of each other, towards -1 where one determines the other.
    gradient : float32 array, shape (X, Y, Z)
        With respect to `warped`.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> same = value_and_gradient(image, image)[0]
    >>> other = value_and_gradient(image, image[::-1].copy())[0]
    >>> -1 < same < other < 0
    True
    """
    return of_entropies(_measure, fixed, warped, weights, bins, smooth_fixed)
