"""STAPLE: labels and the reliability of those who proposed them, estimated together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.labels.weighted import disputed, stack_labels

Float64 = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]

_RAREST = 1e-12


def staple(labels: Sequence[Image], iterations: int = 50, tolerance: float = 1e-4) -> tuple[Image, Image]:
    """Simultaneous truth and performance level estimation for several labels.

    Expectation maximisation: from how probable each label is at every voxel follows how often each atlas says
    label s where t is true, and the other way round. Voxels on which all agree count as known.

    Parameters
    ----------
    labels : sequence of Image
        Integer labels on one grid, one image an atlas.
    iterations : int
        Most iterations, above 0.
    tolerance : float
        Stop once no atlas's share of right answers for a label moves by more, above 0.

    Returns
    -------
    tuple of Image
        Labels (int32) and confidence, the probability of the label (float32, 0 to 1).

    Raises
    ------
    InputError
        If there is no atlas, the grids differ, labels are not integers, or a setting is out of range.

    References
    ----------
    Warfield, S. K. et al. (2004), doi:10.1109/TMI.2004.828354; several labels: Rohlfing, T. et al. (2004),
    doi:10.1109/TMI.2004.830803.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((8, 1, 1), np.eye(4))
    >>> says = ([1, 1, 1, 2, 2, 2, 1, 2], [1, 1, 1, 2, 2, 2, 1, 2], [2, 1, 2, 2, 1, 2, 2, 1])
    >>> maps = [Image(np.array(values, np.int32).reshape(8, 1, 1), grid) for values in says]
    >>> staple(maps)[0].data.ravel().tolist()
    [1, 1, 1, 2, 2, 2, 1, 2]
    """
    if iterations < 1 or not tolerance > 0:
        raise InputError(
            f"staple: expected at least one iteration and a tolerance above 0, found {iterations} "
            f"and {tolerance:g}"
        )
    stack, grid = stack_labels(labels), labels[0].grid
    at = tuple(disputed(stack).T)
    confidence, fused = np.ones(grid.shape, np.float32), stack[0].copy()
    if not len(at[0]):
        return Image(fused, grid), Image(confidence, grid)
    numbers = np.unique(stack)
    said = np.searchsorted(numbers, stack[:, *at])
    known = np.bincount(np.searchsorted(numbers, stack[0]).ravel(), minlength=len(numbers)).astype(np.float64)
    known -= np.bincount(said[0], minlength=len(numbers))
    # only what somebody said can be true at a voxel
    possible = np.sort(said, axis=0)
    weights = np.stack([(said == candidate).mean(axis=0) for candidate in possible])
    weights[1:][possible[1:] == possible[:-1]] = 0
    right: Float64 = np.zeros((len(said), len(numbers)))
    for _ in range(iterations):
        before = right
        confusion, frequency = _performance(said, possible, weights, known)
        right = np.diagonal(confusion, axis1=1, axis2=2)
        weights = _truth(said, possible, confusion, frequency)
        if np.abs(right - before).max() < tolerance:
            break
    best = weights.argmax(axis=0)[None]
    fused[at] = numbers[np.take_along_axis(possible, best, axis=0)[0]]
    confidence[at] = np.take_along_axis(weights, best, axis=0)[0]
    return Image(fused, grid), Image(confidence, grid)


def _performance(said: Ranks, possible: Ranks, weights: Float64, known: Float64) -> tuple[Float64, Float64]:
    """How often each atlas says s where t is true, shape (atlases, s, t), and how frequent t is."""
    count = len(known)
    confusion = np.empty((len(said), count, count))
    for atlas, mine in enumerate(said):
        sums = np.zeros(count * count)
        for candidate, weight in zip(possible, weights, strict=True):
            sums += np.bincount(mine * count + candidate, weights=weight, minlength=count * count)
        confusion[atlas] = sums.reshape(count, count) + np.diag(known)
    frequency = confusion[0].sum(axis=0)
    return confusion / np.maximum(frequency, _RAREST), frequency / frequency.sum()


def _truth(said: Ranks, possible: Ranks, confusion: Float64, frequency: Float64) -> Float64:
    """Probability of every possible label, shape (candidates, voxels); repeated candidates get none."""
    surprise = np.log(np.maximum(confusion, _RAREST))
    logarithms = np.log(np.maximum(frequency, _RAREST))[possible]
    for mine, table in zip(said, surprise, strict=True):
        logarithms += table[mine, possible]
    logarithms[1:][possible[1:] == possible[:-1]] = -np.inf
    probabilities = np.exp(logarithms - logarithms.max(axis=0))
    return np.asarray(probabilities / probabilities.sum(axis=0))
