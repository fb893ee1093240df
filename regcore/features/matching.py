"""Matching: which keypoints of two images are the same place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from regcore.errors import InputError
from regcore.features.descriptors import Features
from regcore.features.settings import MatchSettings
from regcore.kernels.keypoints import two_nearest
from regcore.transforms import Transform

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

NEIGHBOURS = 8


class Matches(NamedTuple):
    """Pairs of features, the most distinct first.

    ``fixed`` and ``moving`` (M,) are indices of features; ``ratio`` (M,) is the distance between their
    descriptors over the distance to the second best, below 1 the more distinct the match is.
    """

    fixed: Index
    moving: Index
    ratio: npt.NDArray[np.float64]


def match(
    fixed: Features,
    moving: Features,
    settings: MatchSettings | None = None,
    guide: Transform | None = None,
    reach_mm: float = np.inf,
) -> Matches:
    """Features that are each other's nearest neighbour by descriptor, and clearly nearer than the next.

    Parameters
    ----------
    fixed, moving : Features
        Of the two images.
    settings : MatchSettings, optional
    guide : Transform, optional
        Fixed to moving world points, roughly known.
    reach_mm : float
        Only features this close to where `guide` expects them are compared, mm.

    Returns
    -------
    Matches

    Raises
    ------
    InputError
        If the descriptors differ in length: one image is 2D, or the settings were not the same.

    References
    ----------
    Lowe (2004), doi:10.1023/B:VISI.0000029664.99615.94, section 7.1, for the ratio.

    Examples
    --------
    >>> from regcore.features.keypoints import Keypoints
    >>> keypoints = Keypoints(np.zeros((2, 3)), np.ones(2), np.ones(2))
    >>> def features(vectors):
    ...     return Features(keypoints, np.array(vectors, np.float32))
    >>> match(features([[1, 0], [0, 1]]), features([[0, 0.9], [1, 0.1]])).moving
    array([1, 0])
    """
    settings = settings or MatchSettings()
    if fixed.descriptors.shape[1] != moving.descriptors.shape[1]:
        raise InputError(
            f"features: expected descriptors of one length, found {fixed.descriptors.shape[1]} and "
            f"{moving.descriptors.shape[1]} (both images 2D or both 3D, and one set of settings)"
        )
    if len(fixed) == 0 or len(moving) == 0:
        return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    expected = fixed.keypoints.points if guide is None else guide(fixed.keypoints.points)
    found = moving.keypoints.points
    there = _nearest_and_ratio(two_nearest(fixed.descriptors, moving.descriptors, expected, found, reach_mm))
    back = _nearest_and_ratio(two_nearest(moving.descriptors, fixed.descriptors, found, expected, reach_mm))
    first = np.flatnonzero(there[0] >= 0)
    first = first[back[0][there[0][first]] == first]
    second = there[0][first]
    # distinct in both directions
    ratio = np.maximum(there[1][first], back[1][second])
    kept = ratio <= settings.ratio
    order = np.argsort(ratio[kept], kind="stable")
    return Matches(first[kept][order], second[kept][order], ratio[kept][order])


def _nearest_and_ratio(found: tuple[Index, Array]) -> tuple[Index, Array]:
    """Nearest of each, and its distance over that of the second nearest: 1 for twins, 0 without a second."""
    nearest, (first, second) = found[0], found[1].T
    # two equal descriptors at no distance are twins too
    return nearest, np.divide(first, second, out=np.ones(len(nearest)), where=(nearest >= 0) & (second > 0))


def locally_consistent(
    points: Array, displacements: Array, threshold: float = 2.0, noise_mm: float = 0.5
) -> npt.NDArray[np.bool_]:
    """Pairs that move as their neighbours do: the normalised median test.

    A displacement is compared with the median of those of the eight nearest points, in units of the median
    deviation among these plus the noise of a single one.

    Parameters
    ----------
    points : array, shape (N, 3)
        Where the pairs lie, world mm.
    displacements : array, shape (N, 3)
        How they move, mm, a common affine taken out.
    threshold : float
        Largest deviation kept.
    noise_mm : float
        How far keypoints are off their places, mm.

    Returns
    -------
    bool array, shape (N,)
        All true for fewer than four pairs, which cannot judge one another.

    References
    ----------
    Westerweel & Scarano (2005), "Universal outlier detection for PIV data", Experiments in Fluids 39,
    doi:10.1007/s00348-005-0016-6.

    Examples
    --------
    >>> line = np.arange(9.0)[:, None] * [1.0, 0, 0]
    >>> moves = np.zeros((9, 3))
    >>> moves[4, 1] = 5
    >>> np.flatnonzero(~locally_consistent(line, moves))
    array([4])
    """
    count = min(NEIGHBOURS, len(points) - 1)
    if count < 3:
        return np.ones(len(points), bool)
    nearest = cKDTree(points).query(points, k=count + 1)[1]
    # points may coincide, so the point itself need not come first
    others = np.array([row[row != i][:count] for i, row in enumerate(np.asarray(nearest))])
    around = displacements[others]
    median = np.median(around, axis=1)
    spread = np.median(np.linalg.norm(around - median[:, None], axis=2), axis=1)
    return np.asarray(np.linalg.norm(displacements - median, axis=1) <= threshold * (spread + noise_mm))
