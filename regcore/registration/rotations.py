"""Rotations from which a linear registration starts: a few around where it stands, or all there are."""

from __future__ import annotations

import numpy as np
import scipy

from regcore.space import Array, Grid
from regcore.transforms import Affine

SPREAD_ROTATIONS = 576
"""About 30 degrees apart; a registration of smooth images comes back from that."""
SPREAD_TURNS = 24
"""In the plane of a 2D image, 15 degrees apart."""


def flat_normal(grid: Grid) -> Array:
    """Unit normal of the plane of a 2D grid, world RAS+."""
    normal = grid.affine[:3, int(np.argmin(grid.shape))]
    return np.asarray(normal / np.linalg.norm(normal))


def spread_rotations(count: int) -> Array:
    """Rotations spread evenly over all there are, always the same ones: a super-Fibonacci spiral.

    Parameters
    ----------
    count : int

    Returns
    -------
    array, shape (count, 3, 3)

    References
    ----------
    Alexa (2022), "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)",
    doi:10.1109/CVPR52688.2022.00811.

    Examples
    --------
    >>> rotations = spread_rotations(100)
    >>> bool(np.allclose(np.linalg.det(rotations), 1)), bool(np.abs(rotations.mean(axis=0)).max() < 0.02)
    (True, True)
    """
    place = np.arange(count) + 0.5
    first, second = np.sqrt(place / count), np.sqrt(1 - place / count)
    # the second divisor is the root of x^4 = x + 4
    alpha, beta = 2 * np.pi * place / np.sqrt(2), 2 * np.pi * place / 1.533751168755204288
    quaternions = np.stack(
        [first * np.sin(alpha), first * np.cos(alpha), second * np.sin(beta), second * np.cos(beta)], axis=1
    )
    return np.asarray(scipy.spatial.transform.Rotation.from_quat(quaternions).as_matrix())


def local_turns(degrees: float, grid: Grid, centre: Array) -> list[Array]:
    """No turn, and a turn about `centre` either way about every axis (2D: the normal).

    Parameters
    ----------
    degrees : float
    grid : Grid
    centre : array, shape (3,)
        World point, mm.

    Returns
    -------
    list of array, shape (4, 4)
        World to world, mm.

    Examples
    --------
    >>> [len(local_turns(15, Grid((9, 9, n), np.eye(4)), np.zeros(3))) for n in (9, 1)]
    [7, 3]
    """
    axes = [flat_normal(grid)] if grid.is_2d else list(np.eye(3))
    vectors = [sign * axis for axis in axes for sign in (1.0, -1.0)]
    return [np.eye(4)] + [
        Affine.from_parameters(rotation=np.deg2rad(degrees) * vector, centre=centre).matrix
        for vector in vectors
    ]


def all_turns(grid: Grid, centre: Array) -> list[Array]:
    """No turn, and turns about `centre` spread over all there are (2D: those within the plane).

    Returns
    -------
    list of array, shape (4, 4)
        World to world, mm.

    Examples
    --------
    >>> [len(all_turns(Grid((9, 9, n), np.eye(4)), np.zeros(3))) for n in (9, 1)]
    [577, 24]
    """
    if grid.is_2d:
        angles = 2 * np.pi * np.arange(SPREAD_TURNS) / SPREAD_TURNS
        normal = flat_normal(grid)
        return [Affine.from_parameters(rotation=angle * normal, centre=centre).matrix for angle in angles]
    turns = [np.eye(4)]
    for rotation in spread_rotations(SPREAD_ROTATIONS):
        turn = np.eye(4)
        turn[:3, :3] = rotation
        turn[:3, 3] = centre - rotation @ centre
        turns.append(turn)
    return turns
