"""Kernels behind keypoints, against slow references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, maximum_filter
from scipy.spatial import cKDTree

from regcore.kernels.keypoints import extrema, gradient_histograms, two_nearest

RNG = np.random.default_rng


@pytest.mark.parametrize("shape", [(9, 10, 11), (12, 14, 1)])
def test_extrema_are_those_of_a_maximum_filter(shape: tuple[int, ...]) -> None:
    stack = RNG(0).standard_normal((3, *shape)).astype(np.float32)
    size = (3, *(3 if n > 1 else 1 for n in shape))
    others = np.ones(size, bool)
    others[tuple(n // 2 for n in size)] = False
    expected = np.zeros(shape, bool)
    for signed in (stack, -stack):
        beats = signed[1] > maximum_filter(signed, footprint=others, mode="constant", cval=-np.inf)[1]
        expected |= beats & (signed[1] >= 0.5)
    for axis, n in enumerate(shape):
        if n > 1:
            expected[tuple(slice(None) if a != axis else [0, n - 1] for a in range(3))] = False
    assert np.array_equal(extrema(*stack, 0.5).astype(bool), expected)
    assert expected.any()
    twins = np.zeros(shape, np.float32)
    twins[3, 4:6, shape[2] // 2] = 1
    assert np.argwhere(extrema(0 * twins, twins, 0 * twins, 0.5)).tolist() == [[3, 5, shape[2] // 2]]


def test_histograms_are_those_of_a_plain_sum() -> None:
    rng = RNG(1)
    gradient = rng.standard_normal((7, 8, 9, 3)).astype(np.float32)
    origins, steps = rng.uniform(2, 5, (4, 3)), rng.standard_normal((4, 3, 2))
    offsets, directions = rng.standard_normal((5, 2)), rng.standard_normal((6, 2))
    cells, weights = rng.integers(0, 3, (5, 2)).astype(np.int32), rng.random((5, 2))
    cells[0] = 2
    expected = np.zeros((4, 3, 6))
    for n in range(4):
        for p in range(5):
            at = origins[n] + steps[n] @ offsets[p]
            here = [
                map_coordinates(gradient[..., c], at[:, None], order=1, mode="nearest")[0] for c in range(3)
            ]
            along = np.maximum(directions @ (steps[n].T @ here), 0)
            for c in range(2):
                expected[n, cells[p, c]] += weights[p, c] * along
    found = gradient_histograms(gradient, origins, steps, offsets, cells, weights, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_nearest_descriptors_are_those_of_a_tree() -> None:
    rng = RNG(2)
    queries, targets = (rng.random((n, 100), np.float32) for n in (70, 90))
    expected, points = rng.uniform(0, 10, (70, 3)), rng.uniform(0, 10, (90, 3))
    nearest, distances = two_nearest(queries, targets, expected, points, np.inf)
    theirs = cKDTree(targets).query(queries, k=2)
    assert np.array_equal(nearest, theirs[1][:, 0])
    np.testing.assert_allclose(distances, theirs[0], rtol=1e-5)
    nearest, distances = two_nearest(queries, targets, expected, points, 3.0)
    for n in range(70):
        near = np.flatnonzero(np.linalg.norm(points - expected[n], axis=1) <= 3.0)
        lengths = np.sort(np.linalg.norm(targets[near] - queries[n], axis=1))
        padded = np.concatenate([lengths, [np.inf, np.inf]])[:2]
        np.testing.assert_allclose(distances[n], padded, rtol=1e-5)
        assert nearest[n] == (
            near[np.linalg.norm(targets[near] - queries[n], axis=1).argmin()] if near.size else -1
        )
