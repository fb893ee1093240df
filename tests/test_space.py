"""Grids: voxels, world points and the grids derived from one another."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from regcore.errors import InputError
from regcore.image import Image
from regcore.space import Grid

seeds = st.integers(0, 2**32 - 1)


def random_grid(seed: int, shape: tuple[int, int, int] | None = None) -> Grid:
    """Oblique, anisotropic grid, left- or right-handed."""
    rng = np.random.default_rng(seed)
    if shape is None:
        x, y, z = rng.integers(1, 9, size=3)
        shape = (int(x), int(y), int(z))
    affine = np.eye(4)
    signs = rng.choice([-1.0, 1.0], size=3)
    affine[:3, :3] = Rotation.random(rng=rng).as_matrix() * (signs * rng.uniform(0.3, 4.0, size=3))
    affine[:3, 3] = rng.uniform(-100, 100, size=3)
    return Grid(shape, affine)


@given(seeds)
def test_voxels_and_world_points_are_inverse(seed: int) -> None:
    grid = random_grid(seed)
    voxels = np.random.default_rng(seed).uniform(-20, 20, size=(7, 3))
    np.testing.assert_allclose(grid.to_voxel(grid.to_world(voxels)), voxels, atol=1e-9)


@given(seeds)
def test_spacing_and_volume_of_an_oblique_grid(seed: int) -> None:
    grid = random_grid(seed)
    assert grid.voxel_volume == pytest.approx(np.prod(grid.spacing))
    step = grid.to_world([1, 0, 0]) - grid.to_world([0, 0, 0])
    assert np.linalg.norm(step) == pytest.approx(grid.spacing[0])


def test_world_points_are_those_of_the_voxel_indices() -> None:
    grid = random_grid(3, (3, 4, 5))
    points = grid.world_points()
    assert points.shape == (3, 4, 5, 3)
    np.testing.assert_allclose(points[2, 1, 4], grid.affine[:3] @ [2, 1, 4, 1])


@given(seeds, st.tuples(*[st.floats(1.0, 5.0)] * 3))
def test_shrinking_keeps_the_middle_and_covers_the_field_of_view(
    seed: int, factors: tuple[float, float, float]
) -> None:
    grid = random_grid(seed)
    small = grid.shrink(factors)
    np.testing.assert_allclose(small.centre, grid.centre, atol=1e-9)
    box = small.to_voxel(grid.corners())
    assert (box >= -0.5 - 1e-4).all()
    assert (box <= np.array(small.shape) - 0.5 + 1e-4).all()
    for axis in range(3):
        if grid.shape[axis] == 1:
            assert small.spacing[axis] == pytest.approx(grid.spacing[axis])


def test_cropping_keeps_world_positions_and_may_pad() -> None:
    grid = random_grid(5, (6, 7, 8))
    part = grid.crop((2, -1, 0), (5, 9, 8))
    assert part.shape == (3, 10, 8)
    np.testing.assert_allclose(part.to_world([0, 1, 0]), grid.to_world([2, 0, 0]))


def test_matching_grids_agree_at_their_far_corner() -> None:
    grid = Grid((100, 10, 10), np.eye(4))
    tilted = np.eye(4)
    tilted[1, 0] = 1e-4
    assert grid.matches(Grid((100, 10, 10), np.eye(4)))
    assert not grid.matches(Grid((100, 10, 10), tilted))
    assert not grid.matches(Grid((100, 10, 11), np.eye(4)))


def test_a_single_slice_is_two_dimensional() -> None:
    assert Grid((4, 5, 1), np.eye(4)).is_2d
    assert not Grid((4, 5, 2), np.eye(4)).is_2d


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((0, 1, 1), np.eye(4)),
        ((2, 2), np.eye(4)),
        ((2, 2, 2), np.zeros((4, 4))),
        ((2, 2, 2), np.full((4, 4), np.nan)),
        ((2, 2, 2), np.eye(3)),
    ],
)
def test_impossible_grids_are_refused(shape: tuple[int, ...], affine: np.ndarray) -> None:
    with pytest.raises(InputError, match="grid: expected"):
        Grid(shape, affine)


def test_grid_and_image_cannot_be_changed() -> None:
    image = Image(np.zeros((2, 2, 2), np.float32), Grid((2, 2, 2), np.eye(4)))
    with pytest.raises(FrozenInstanceError):
        image.data = np.ones((2, 2, 2), np.float32)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        image.grid.affine[0] = 1


def test_an_image_must_fit_its_grid() -> None:
    with pytest.raises(InputError, match=r"expected data of shape \(2, 2, 2\)"):
        Image(np.zeros((2, 2, 3), np.float32), Grid((2, 2, 2), np.eye(4)))
