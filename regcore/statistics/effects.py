"""Standardised effect sizes with confidence intervals."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special
import scipy.stats

NODES = 400


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def noncentrality(t: float, degrees: float, confidence: float = 0.95) -> Interval:
    """Confidence interval of the noncentrality of a t statistic, by inverting its distribution.

    The distribution is the mean of a normal one over the residual standard deviation, taken by quadrature:
    libraries' own noncentral t fails far from its middle.

    References
    ----------
    Steiger, J. H. (2004), doi:10.1037/1082-989X.9.2.164.

    Examples
    --------
    >>> [round(end, 2) for end in noncentrality(2.0, 20)]
    [2.0, -0.08, 4.03]
    """
    if not math.isfinite(t):
        return Interval(math.nan, math.nan, math.nan)
    deviations, weights = _deviations(degrees)
    reach = 9 * math.sqrt(1 + t * t / (2 * degrees)) + abs(t) * float(deviations[-1])
    ends = []
    for probability in ((1 + confidence) / 2, (1 - confidence) / 2):

        def excess(center: float, probability: float = probability) -> float:
            return float(weights @ scipy.special.ndtr(t * deviations - center)) - probability

        ends.append(float(scipy.optimize.brentq(excess, -reach, reach, xtol=1e-6)))
    return Interval(t, min(ends), max(ends))


@lru_cache(maxsize=64)
def _deviations(degrees: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Residual standard deviations, over the true one, and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return np.sqrt(scipy.stats.chi2.ppf((nodes + 1) / 2, degrees) / degrees), weights / 2


def cohens_d(t: float, degrees: float, scale: float, confidence: float = 0.95) -> Interval:
    """Effect over the residual standard deviation.

    Parameters
    ----------
    t : float
        Of the contrast.
    degrees : float
        Residual degrees of freedom.
    scale : float
        Standard error of the contrast over the residual standard deviation,
        ``sqrt(c (X'X)^-1 c')``: for two groups ``sqrt(1/n1 + 1/n2)``.

    Examples
    --------
    >>> [round(end, 2) for end in cohens_d(2.0, 18, (1 / 10 + 1 / 10) ** 0.5)]
    [0.89, -0.04, 1.81]
    """
    found = noncentrality(t, degrees, confidence)
    return Interval(scale * found.value, scale * found.low, scale * found.high)


def partial_correlation(t: float, degrees: float, confidence: float = 0.95) -> Interval:
    """Correlation of the response and what is contrasted, the rest of the design taken out of both.

    The interval is Fisher's; it needs more than one degree of freedom.

    Examples
    --------
    >>> [round(end, 2) for end in partial_correlation(2.0, 18)]
    [0.43, -0.02, 0.73]
    """
    value = t / math.sqrt(t * t + degrees)
    if not abs(value) < 1 or degrees <= 1:
        return Interval(value, math.nan, math.nan)
    reach = float(scipy.stats.norm.ppf((1 + confidence) / 2)) / math.sqrt(degrees - 1)
    return Interval(value, math.tanh(math.atanh(value) - reach), math.tanh(math.atanh(value) + reach))
