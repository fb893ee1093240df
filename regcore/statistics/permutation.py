"""Permutation inference: family-wise corrected p-values of t and of clusters without a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from regcore.errors import InputError
from regcore.kernels.enhance import enhance

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

BATCH = 16
"""Permutations worked on together; a constant, so that the bits do not depend on the threads."""


@dataclass(frozen=True, eq=False)
class Permutations:
    """Corrected p-values of a contrast in every voxel, two-sided.

    Parameters
    ----------
    p_t : float64 array, shape (voxels,)
        Family-wise, of the t statistic.
    largest_t : float64 array, shape (permutations + 1,)
        Largest absolute t of every permutation; the first is the observed one.
    enhanced : float32 array, shape (voxels,), optional
        TFCE of the t map.
    p_enhanced : float64 array, shape (voxels,), optional
        Family-wise, of that.
    largest_enhanced : float64 array, optional
        As `largest_t`.
    """

    p_t: Float64
    largest_t: Float64
    enhanced: Float32 | None = None
    p_enhanced: Float64 | None = None
    largest_enhanced: Float64 | None = None


def permute(
    matrix: Float64,
    values: Float32,
    weights: Float64,
    count: int,
    neighbours: npt.NDArray[np.int32] | None = None,
    seed: int = 0,
) -> Permutations:
    """Compare a contrast with what it is after permuting the residuals of the model without it.

    Freedman and Lane: the part of the response that the rest of the design explains is taken out, the
    residuals change places between participants, and the whole model is fitted again. Where the rest of the
    design has no constant, that is where a mean itself is tested, they change signs instead. The observed
    order counts as one of the permutations, so no p-value is below ``1 / (count + 1)``.

    Parameters
    ----------
    matrix : array, shape (participants, columns)
        Of full rank.
    values : float32 array, shape (participants, voxels)
    weights : array, shape (columns,)
        Of the contrast.
    count : int
        Permutations, at least 1.
    neighbours : int32 array, shape (voxels, 6), optional
        Of the voxels, as `face_neighbours` makes them; without it clusters are not looked at.
    seed : int
        The same one gives the same permutations.

    Returns
    -------
    Permutations

    Raises
    ------
    InputError
        If there is no permutation to make, or no degree of freedom is left.

    References
    ----------
    Winkler, A. M. et al. (2014), doi:10.1016/j.neuroimage.2014.01.060; Freedman, D. and Lane, D. (1983),
    doi:10.1080/07350015.1983.10509354.

    Examples
    --------
    >>> generator = np.random.default_rng(1)
    >>> group = np.repeat([0.0, 1.0], 8)
    >>> values = generator.normal(size=(16, 50)).astype(np.float32)
    >>> values[:, 7] += 6 * group
    >>> found = permute(np.stack([np.ones(16), group], axis=1), values, np.array([0.0, 1.0]), 199)
    >>> np.flatnonzero(found.p_t < 0.05).tolist(), float(found.p_t.min())
    ([7], 0.005)
    """
    rows, columns = matrix.shape
    degrees = rows - columns
    if count < 1 or degrees < 1:
        raise InputError(f"permutations: expected at least 1, and more rows than columns, found {count}")
    tested, rest = partition(matrix, weights)
    flips = not _holds_constant(rest)
    residuals = (values - rest @ (rest.T @ values)).astype(np.float32)
    squares = np.square(residuals).sum(axis=0, dtype=np.float64)
    generator = np.random.default_rng(seed)
    directions = np.concatenate([tested[:, None], rest], axis=1)
    largest = np.empty((2, count + 1))
    observed_t = observed_e = None
    above_t, above_e = (np.zeros(values.shape[1], np.int64) for _ in range(2))
    for start in range(0, count + 1, BATCH):
        made = []
        for number in range(start, min(start + BATCH, count + 1)):
            shuffled = directions
            if number and flips:
                shuffled = directions * generator.choice([-1.0, 1.0], rows)[:, None]
            elif number:
                shuffled = directions[generator.permutation(rows)]
            products = shuffled.T.astype(np.float32) @ residuals
            left = squares - np.square(products).sum(axis=0, dtype=np.float64)
            some = left > 1e-9 * np.maximum(squares, 1e-30)
            t = np.sqrt(degrees / np.where(some, left, 1.0)) * products[0]
            made.append(np.where(some, t, 0).astype(np.float32))
        statistics = np.stack(made)
        if observed_t is None:
            observed_t = np.abs(statistics[0])
        strongest = np.abs(statistics).max(axis=1)
        largest[0, start : start + len(made)] = strongest
        for value in strongest:
            above_t += value >= observed_t
        if neighbours is not None:
            enhanced = enhance(statistics, neighbours)
            if observed_e is None:
                observed_e = enhanced[0].copy()
            strongest = np.abs(enhanced).max(axis=1)
            largest[1, start : start + len(made)] = strongest
            for value in strongest:
                above_e += value >= np.abs(observed_e)
    if observed_e is None:
        return Permutations(above_t / (count + 1), largest[0])
    return Permutations(above_t / (count + 1), largest[0], observed_e, above_e / (count + 1), largest[1])


def partition(matrix: Float64, weights: Float64) -> tuple[Float64, Float64]:
    """Unit direction that a contrast tests, and an orthonormal basis of the rest of the design.

    Parameters
    ----------
    matrix : array, shape (participants, columns)
    weights : array, shape (columns,)

    Returns
    -------
    tested : array, shape (participants,)
        Orthogonal to the rest; the contrast is positive where the response goes along it.
    rest : array, shape (participants, columns - 1)

    Examples
    --------
    >>> tested, rest = partition(np.array([[1.0, 0], [1, 0], [1, 1], [1, 1]]), np.array([0.0, 1.0]))
    >>> tested.round(3).tolist(), np.abs(rest).round(3).ravel().tolist()
    ([-0.5, -0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5])
    """
    inverse = np.linalg.pinv(matrix)
    tested = weights @ inverse
    tested = tested / np.linalg.norm(tested)
    others = matrix @ scipy.linalg.null_space(weights[None])
    rest = np.linalg.qr(others)[0] if others.shape[1] else np.zeros((len(matrix), 0))
    return tested, rest


def _holds_constant(rest: Float64) -> bool:
    ones = np.ones(len(rest)) / np.sqrt(len(rest))
    return bool(np.linalg.norm(ones - rest @ (rest.T @ ones)) < 1e-6)
