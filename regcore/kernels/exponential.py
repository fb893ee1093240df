"""Exponential of a stationary velocity field by scaling and squaring."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.compose import compose, longest_vector

LONGEST_FIRST_STEP_VOX = 0.125


def exponential(velocity: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Displacement at unit time of the flow of a stationary velocity field.

    The velocity is halved until its longest vector is at most an eighth of a voxel, and the short step is
    then composed with itself as many times. ``exponential(-v)`` is the inverse of ``exponential(v)``.

    Parameters
    ----------
    velocity : array, shape (X, Y, Z, 3)
        Velocity in voxels of its grid per unit time.

    Returns
    -------
    array, shape (X, Y, Z, 3)
        Displacement, float32, in voxels of the same grid.

    Raises
    ------
    InputError
        If `velocity` is not finite or not of shape (X, Y, Z, 3).

    References
    ----------
    Arsigny et al. (2006), "A log-Euclidean framework for statistics on diffeomorphisms", MICCAI,
    doi:10.1007/11866565_113.

    Examples
    --------
    >>> velocity = np.zeros((8, 8, 8, 3), np.float32)
    >>> velocity[..., 1] = 2.0
    >>> exponential(velocity)[4, 4, 4]
    array([0., 2., 0.], dtype=float32)
    """
    field = np.asarray(velocity, dtype=np.float32)
    if field.ndim != 4 or field.shape[3] != 3:
        raise InputError(f"velocity: expected shape (X, Y, Z, 3), found {field.shape}")
    if not np.isfinite(field).all():
        raise InputError("velocity: expected finite values, found NaN or infinity")
    longest = longest_vector(field)
    squarings = max(int(np.ceil(np.log2(longest / LONGEST_FIRST_STEP_VOX))), 0) if longest > 0 else 0
    displacement = field * np.float32(0.5**squarings)
    for _ in range(squarings):
        displacement = compose(displacement, displacement)
    return displacement
