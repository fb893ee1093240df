"""Quasi-Newton descent for the few parameters of a linear map.

SciPy's L-BFGS-B does the same, but loading it takes longer than registering two small images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regcore.space import Array

# of the strong Wolfe conditions: enough descent, and a slope that is small enough
DESCENT, CURVATURE = 1e-4, 0.9
LONGEST_SEARCH = 20

Energy = Callable[[Array], tuple[float, Array]]


def minimise(
    energy: Energy,
    start: Array,
    iterations: int,
    tolerance: float = 1e-7,
    note: Callable[[float], None] | None = None,
) -> tuple[float, Array]:
    """Least energy found by the method of Broyden, Fletcher, Goldfarb and Shanno, and where it is.

    Parameters
    ----------
    energy : callable
        Takes an array of shape (n,); returns a value and its gradient, shape (n,).
    start : array, shape (n,)
        The first step is one unit long.
    iterations : int
        Most steps.
    tolerance : float
        Ends when a step lowers the energy by less than this share, or no part of the gradient is larger.
    note : callable, optional
        Called with the energy after every step.

    Returns
    -------
    value : float
    place : array, shape (n,)

    References
    ----------
    Nocedal and Wright (2006), "Numerical Optimization", chapters 3 and 6, doi:10.1007/978-0-387-40065-5.

    Examples
    --------
    >>> def valley(x):
    ...     bend = x[1] - x[0] ** 2
    ...     return (1 - x[0]) ** 2 + 9 * bend**2, np.array([2 * x[0] - 2 - 36 * bend * x[0], 18 * bend])
    >>> value, place = minimise(valley, np.array([-1.0, 2.0]), 50, 1e-12)
    >>> place.round(4)
    array([1., 1.])
    """
    place = np.array(start, dtype=np.float64)
    value, gradient = energy(place)
    inverse_hessian: Array | None = None
    for _ in range(iterations):
        if np.abs(gradient).max() <= tolerance:
            break
        if inverse_hessian is None:
            direction = -gradient / np.linalg.norm(gradient)
        else:
            direction = -inverse_hessian @ gradient
        found = _search(energy, place, value, gradient, direction)
        if found is None:
            if inverse_hessian is None:
                break
            inverse_hessian = None  # what is known of the curvature misleads: straight down
            continue
        step, new_value, new_gradient = found
        change = new_gradient - gradient
        inverse_hessian = _updated(inverse_hessian, step, change)
        fallen = value - new_value
        place, value, gradient = place + step, new_value, new_gradient
        if note is not None:
            note(value)
        if fallen <= tolerance * max(abs(value), abs(value + fallen), 1.0):
            break
    return value, place


def _updated(inverse_hessian: Array | None, step: Array, change: Array) -> Array | None:
    curvature = float(step @ change)
    if curvature <= 1e-12 * float(np.linalg.norm(step) * np.linalg.norm(change)):
        return inverse_hessian
    unit = np.eye(step.size)
    if inverse_hessian is None:
        inverse_hessian = unit * (curvature / float(change @ change))
    across = unit - np.outer(step, change) / curvature
    return np.asarray(across @ inverse_hessian @ across.T + np.outer(step, step) / curvature)


def _search(
    energy: Energy, place: Array, value: float, gradient: Array, direction: Array
) -> tuple[Array, float, Array] | None:
    """Step along a direction that meets the strong Wolfe conditions, or at least lowers the energy."""
    slope = float(gradient @ direction)
    if slope >= 0:
        return None
    # ends of the interval that holds such a step: its length, the energy and the slope there
    low: tuple[float, float, float] = (0.0, value, slope)
    high: tuple[float, float, float] | None = None
    best: tuple[Array, float, Array] | None = None
    length = 1.0
    for _ in range(LONGEST_SEARCH):
        step = length * direction
        there, by_place = energy(place + step)
        along = float(by_place @ direction)
        enough = there <= value + DESCENT * length * slope
        if enough and (best is None or there < best[1]):
            best = step, there, by_place
        if not enough or there >= low[1]:
            high = length, there, along
        elif abs(along) <= -CURVATURE * slope:
            return step, there, by_place
        else:
            if along * ((np.inf if high is None else high[0]) - low[0]) >= 0:
                high = low
            low = length, there, along
        length = 2.0 * length if high is None else _between(low, high)
    return best


def _between(low: tuple[float, float, float], high: tuple[float, float, float]) -> float:
    """Where the cubic through both ends is least, but not too near either."""
    (a, value_a, slope_a), (b, value_b, slope_b) = low, high
    least = (a + b) / 2
    if np.isfinite(value_b) and np.isfinite(slope_b):
        first = slope_a + slope_b - 3 * (value_a - value_b) / (a - b)
        inside = first**2 - slope_a * slope_b
        if inside >= 0:
            second = np.sign(b - a) * np.sqrt(inside)
            below = slope_b - slope_a + 2 * second
            if below != 0:
                least = b - (b - a) * (slope_b + second - first) / below
    near, far = min(a, b), max(a, b)
    margin = 0.1 * (far - near)
    return float(min(max(least, near + margin), far - margin))
