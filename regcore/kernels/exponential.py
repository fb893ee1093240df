"""Exponential of a stationary velocity field by scaling and squaring, and its inverse, the logarithm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.compose import compose
from regcore.kernels.fields import longest_vector

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
    field = np.ascontiguousarray(velocity, dtype=np.float32)
    if field.ndim != 4 or field.shape[3] != 3:
        raise InputError(f"velocity: expected shape (X, Y, Z, 3), found {field.shape}")
    longest = float(np.sqrt(np.einsum("...c,...c->...", field, field).max()))
    if not np.isfinite(longest):
        raise InputError("velocity: expected finite values, found NaN or infinity")
    squarings = max(int(np.ceil(np.log2(longest / LONGEST_FIRST_STEP_VOX))), 0) if longest > 0 else 0
    displacement = field * np.float32(0.5**squarings)
    for _ in range(squarings):
        displacement = compose(displacement, displacement)
    return displacement


def logarithm(
    displacement: npt.NDArray[np.float32], iterations: int = 20, tolerance_vox: float = 1e-2
) -> npt.NDArray[np.float32]:
    """Stationary velocity field whose flow comes nearest to a displacement.

    Starting from the displacement itself, the velocity is corrected by what is left of the map after its flow
    has been undone, ``exp(-v) o (id + u)``, until nothing longer than `tolerance_vox` is left or the rest no
    longer shrinks: not every diffeomorphism is the flow of a stationary velocity.

    Parameters
    ----------
    displacement : array, shape (X, Y, Z, 3)
        Displacement u in voxels of its grid, without folds.
    iterations : int
        Most corrections.
    tolerance_vox : float
        Longest vector left, voxels.

    Returns
    -------
    array, shape (X, Y, Z, 3)
        Velocity, float32, in voxels of the same grid per unit time.

    Raises
    ------
    InputError
        If `displacement` is not finite or not of shape (X, Y, Z, 3).

    References
    ----------
    Bossa et al. (2007), "Contributions to 3D diffeomorphic atlas estimation: application to brain images",
    MICCAI, doi:10.1007/978-3-540-75757-3_81, for the correction.

    Examples
    --------
    >>> shift = np.full((4, 4, 4, 3), 1.5, np.float32)
    >>> bool(np.allclose(logarithm(shift), 1.5))
    True
    """
    field = np.ascontiguousarray(displacement, dtype=np.float32)
    velocity, best, least = field, field, np.inf
    for _ in range(iterations):
        rest = compose(exponential(-velocity), field)
        longest = longest_vector(rest)
        if longest >= least:
            break
        best, least = velocity, longest
        if longest < tolerance_vox:
            break
        velocity = velocity + rest
    return best
