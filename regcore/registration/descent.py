"""Preconditioned conjugate gradient descent that never lets the energy rise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.kernels.compose import longest_vector
from regcore.kernels.fields import inner_product
from regcore.kernels.smooth import gaussian_smooth
from regcore.registration.deformable import converged

Float32 = npt.NDArray[np.float32]

GROWTH, SHRINKAGE = 1.5, 0.4
SHORTEST_STEP_VOX = 1e-3


class Energy(NamedTuple):
    """Energy ``data_term + weight * regulariser_term`` of a field, and its gradient, shape (X, Y, Z, 3)."""

    total: float
    data_term: float
    regulariser_term: float
    gradient: Float32


def descend(
    energy: Callable[[Float32], Energy],
    field: Float32,
    iterations: int,
    sigma_vox: float,
    step_vox: float,
    tolerance: float = 0.0,
    drift: Float32 | None = None,
    note: Callable[[int, Energy], None] | None = None,
) -> Float32:
    """Field of lower energy, by conjugate steps along the smoothed gradient.

    Smoothing by a Gaussian is the preconditioner: a step is steepest in a Sobolev norm, so that what the grid
    cannot tell from noise moves least. Directions are conjugate after Polak and Ribiere. A step that would
    raise the energy is shortened until it lowers it; one that lowers it lets the next be longer. The descent
    ends where not even a thousandth of a voxel straight down lowers the energy.

    Parameters
    ----------
    energy : callable
        Energy and gradient of a field.
    field : float32 array, shape (X, Y, Z, 3)
        Where to start.
    iterations : int
        Most steps.
    sigma_vox : float
        Gaussian on the gradient, voxels.
    step_vox : float
        Longest vector of a step, voxels.
    tolerance : float
        Ends when the energy falls by less than this share over ten iterations.
    drift : float32 array, shape (X, Y, Z, 3), optional
        Taken out of the field before every step; only this can raise the energy.
    note : callable, optional
        Called before every step with its number and the energy.

    References
    ----------
    Neuberger (1997), "Sobolev Gradients and Differential Equations", doi:10.1007/BFb0092831; Nocedal and
    Wright (2006), "Numerical Optimization", chapter 5, doi:10.1007/978-0-387-40065-5.

    Examples
    --------
    >>> def bowl(field):
    ...     value = float((field**2).sum())
    ...     return Energy(value, value, 0.0, 2 * field)
    >>> bottom = descend(bowl, np.ones((2, 2, 2, 3), np.float32), 20, 0.0, 1.0)
    >>> bool(np.abs(bottom).max() < 0.01)
    True
    """
    here = energy(field)
    step, energies = np.inf, []
    direction = before = field[:0]
    fall = 0.0
    for iteration in range(1, iterations + 1):
        if drift is not None:
            field = field - drift
            here = energy(field)
        energies.append(here.total)
        if note is not None:
            note(iteration, here)
        if converged(energies, tolerance):
            break
        straight, last_fall = gaussian_smooth(here.gradient, sigma_vox), fall
        fall = inner_product(here.gradient, straight)
        turn = max(0.0, fall - inner_product(before, straight)) / last_fall if iteration > 1 else 0.0
        direction = straight if turn == 0 else straight + np.float32(turn) * direction
        before = here.gradient
        found = _step_down(energy, field, here, direction, step, step_vox)
        if found is None and turn > 0:
            direction = straight
            found = _step_down(energy, field, here, direction, np.inf, step_vox)
        if found is None:
            break
        step, field, here = found
        step *= GROWTH
    return field


def _step_down(
    energy: Callable[[Float32], Energy],
    field: Float32,
    here: Energy,
    direction: Float32,
    step: float,
    step_vox: float,
) -> tuple[float, Float32, Energy] | None:
    """Length of a step against `direction` that lowers the energy, and where it leads; None without one."""
    longest = longest_vector(direction)
    if longest == 0 or inner_product(here.gradient, direction) <= 0:
        return None
    step = min(step, step_vox / longest)
    while step * longest >= SHORTEST_STEP_VOX:
        trial = field - np.float32(step) * direction
        there = energy(trial)
        if there.total < here.total:
            return step, trial, there
        step *= SHRINKAGE
    return None
