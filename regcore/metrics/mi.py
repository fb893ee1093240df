"""Mutual information of whole images.

Source: Mattes et al., IEEE Transactions on Medical Imaging 22 (2003), doi:10.1109/TMI.2003.809072.
"""

import numpy as np
import numpy.typing as npt

from regcore.metrics.histogram import of_entropies

Float32 = npt.NDArray[np.float32]


def _measure(apart: float, joint: float) -> tuple[float, float, float]:
    return joint - apart, -1.0, 1.0


def value_and_gradient(
    fixed: Float32,
    warped: Float32,
    weights: Float32 | None = None,
    bins: int = 32,
    smooth_fixed: bool = False,
) -> tuple[float, Float32]:
    """Minus the mutual information (nats), and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped, weights : float32 array, shape (X, Y, Z)
        Intensities in [0, 1]; values beyond are clamped and have no gradient.
    bins : int
        Bins of either image.
    smooth_fixed : bool
        See `regcore.metrics.histogram.of_entropies`.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> same = value_and_gradient(image, image)[0]
    >>> other = value_and_gradient(image, image[::-1].copy())[0]
    >>> same < other < 0
    True
    """
    return of_entropies(_measure, fixed, warped, weights, bins, smooth_fixed)
