"""Resampling against closed forms, SciPy and a slow vote over labels."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.parallel import set_threads
from regcore.kernels.sample import sample_linear, sample_linear_gradient
from regcore.resample import Interpolation, coverage, resample
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, Transform, Velocity

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None)
SHAPE = (14, 16, 12)


def oblique_grid(shape: tuple[int, int, int], seed: int) -> Grid:
    """Grid of some orientation about the world's origin."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=rng).as_matrix() * rng.uniform(0.8, 1.6, 3)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def smooth_image(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Image:
    rng = np.random.default_rng(seed)
    data = gaussian_filter(rng.normal(size=shape), [1.5 if n > 1 else 0 for n in shape])
    return Image(data.astype(np.float32), oblique_grid(shape, seed))


def label_image(seed: int = 0, shape: tuple[int, int, int] = SHAPE, dtype: str = "int32") -> Image:
    rng = np.random.default_rng(seed)
    return Image(rng.choice([0, 2, 5, 77, 120], size=shape).astype(dtype), oblique_grid(shape, seed))


def warp_on(grid: Grid, seed: int = 0, peak: float = 1.5) -> Displacement:
    rng = np.random.default_rng(seed)
    sigma = [2.5 if n > 1 else 0 for n in grid.shape]
    field = np.stack([gaussian_filter(rng.normal(size=grid.shape), sigma) for _ in range(3)], axis=-1)
    field[..., np.array(grid.shape) == 1] = 0
    return Displacement((peak * field / np.abs(field).max()).astype(np.float32), grid)


def read_positions(image: Image, grid: Grid, transform: Transform) -> np.ndarray:
    """Voxel of the image that each output voxel reads, shape (X, Y, Z, 3)."""
    return image.grid.to_voxel(transform(grid.world_points()))


def is_inside(positions: np.ndarray, shape: tuple[int, ...], margin: float = 0.0) -> np.ndarray:
    size = np.array(shape)
    return np.asarray(((positions >= -0.5 + margin) & (positions <= size - 0.5 - margin)).all(axis=-1))


def vote_reference(labels: np.ndarray, position: np.ndarray) -> int:
    """Label of largest linear weight at one position, one mask a label."""
    size = np.array(labels.shape)
    q = np.clip(position, 0, size - 1)
    low = np.minimum(q.astype(int), np.maximum(size - 2, 0))
    votes: dict[int, float] = {}
    for corner in np.ndindex(2, 2, 2):
        at = tuple(np.minimum(low + corner, size - 1))
        weight = float(np.prod(np.where(corner, q - low, 1 - (q - low))))
        votes[int(labels[at])] = votes.get(int(labels[at]), 0.0) + weight
    most = max(votes.values())
    return min(label for label, weight in votes.items() if weight > most - 1e-4)


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("transform", [None, Chain(), Affine(np.eye(4))])
def test_resampling_onto_its_own_grid_changes_nothing(
    interpolation: Interpolation, transform: Transform | None
) -> None:
    image = label_image()
    result = resample(image, image.grid, transform, interpolation)
    np.testing.assert_allclose(result.data, image.data, atol=2e-3)
    if interpolation in ("label", "nearest"):
        np.testing.assert_array_equal(result.data, image.data)


@quick
@given(seeds)
def test_a_linear_ramp_is_read_exactly_through_any_transform(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, grid = oblique_grid(SHAPE, seed), oblique_grid((9, 8, 10), seed + 1)
    slope = rng.normal(size=3)
    ramp = Image((source.world_points() @ slope).astype(np.float32), source)
    affine = Affine.from_parameters(rng.uniform(-2, 2, 3), rng.uniform(-0.3, 0.3, 3))
    transform = Chain((affine, warp_on(grid, seed)))
    expected = transform(grid.world_points()) @ slope
    positions = read_positions(ramp, grid, transform)
    # within the outermost voxel centres the interpolant is the ramp itself
    inner = is_inside(positions, SHAPE, margin=0.501)
    np.testing.assert_allclose(resample(ramp, grid, transform).data[inner], expected[inner], atol=1e-3)


@pytest.mark.parametrize(
    ("interpolation", "order", "mode"), [("linear", 1, "nearest"), ("cubic", 3, "mirror")]
)
def test_linear_and_cubic_agree_with_scipy(interpolation: Interpolation, order: int, mode: str) -> None:
    image, grid = smooth_image(1), oblique_grid((17, 15, 16), 2)
    transform = Chain(
        (Affine.from_parameters((1, -2, 0.5), (0.2, 0.1, -0.3), (1.1, 0.9, 1.0)), warp_on(grid))
    )
    positions = read_positions(image, grid, transform)
    expected = map_coordinates(image.data, np.moveaxis(positions, -1, 0), order=order, mode=mode)
    expected[~is_inside(positions, SHAPE)] = 0
    settled = is_inside(positions, SHAPE) == is_inside(positions, SHAPE, 1e-3)
    result = resample(image, grid, transform, interpolation)
    assert 0.1 < (expected == 0).mean() < 0.9
    np.testing.assert_allclose(result.data[settled], expected[settled], atol=2e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "int64"])
def test_labels_are_what_one_mask_a_label_would_give(dtype: str) -> None:
    image, grid = label_image(3, dtype=dtype), oblique_grid((10, 9, 11), 4)
    transform = Chain((Affine.from_parameters((0.3, 0.2, 0.1)), warp_on(grid)))
    result = resample(image, grid, transform, "label")
    assert result.data.dtype == image.data.dtype
    positions = read_positions(image, grid, transform)
    settled = is_inside(positions, SHAPE) == is_inside(positions, SHAPE, 1e-3)
    expected = np.zeros(grid.shape, image.data.dtype)
    for p in np.argwhere(is_inside(positions, SHAPE)):
        expected[tuple(p)] = vote_reference(image.data, positions[tuple(p)])
    # float32 positions may settle a near tie the other way
    assert (result.data == expected)[settled].mean() > 0.999


def test_a_tie_between_labels_goes_to_the_smaller() -> None:
    grid = Grid((2, 1, 1), np.eye(4))
    between = Affine.from_parameters(translation=(0.5, 0, 0))
    for values in ([9, 4], [4, 9]):
        image = Image(np.array(values, np.int32).reshape(2, 1, 1), grid)
        assert resample(image, grid, between, "label").data[0, 0, 0] == 4


def test_three_labels_of_which_none_has_half_the_weight() -> None:
    data = np.array([[1, 2], [3, 3]], np.int32).reshape(2, 2, 1)
    grid = Grid((2, 2, 1), np.eye(4))
    # weights 0.3, 0.3 and 0.4: neither neighbour alone is nearest, both threes together win
    result = resample(Image(data, grid), grid, Affine.from_parameters((0.4, 0.5, 0)), "label")
    assert result.data[0, 0, 0] == 3


@quick
@given(seeds)
def test_no_label_is_invented(seed: int) -> None:
    image, grid = label_image(seed % 7), oblique_grid((8, 8, 8), seed)
    for interpolation in ("label", "nearest"):
        result = resample(image, grid, warp_on(grid, seed), interpolation)
        assert set(np.unique(result.data)) <= set(np.unique(image.data)) | {0}


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 1, 4)], ids=["3D", "2D"])
def test_the_gradient_is_the_derivative_of_what_is_read(shape: tuple[int, int, int]) -> None:
    """Between the centres, in the outermost half voxel, where the value is the edge's, and outside."""
    image = np.random.default_rng(0).random(shape, np.float32)
    # quarter steps from beyond one edge to beyond the other, a little off the kinks of the interpolant
    matrix = np.diag([0.25, 0.25, 0.25, 1.0])
    matrix[:3, 3] = -1.0 + 0.11
    output = tuple(4 * (n + 1) + 1 for n in shape)
    warped, gradient = sample_linear_gradient(image, matrix, shape=output)
    np.testing.assert_array_equal(warped, sample_linear(image, matrix, shape=output))
    step = 1e-2
    for axis in range(3):
        sides = []
        for sign in (1, -1):
            moved = matrix.copy()
            moved[axis, 3] += sign * step
            sides.append(sample_linear(image, moved, shape=output).astype(np.float64))
        expected = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(gradient[..., axis], expected, atol=2e-4)
        place = 0.25 * np.arange(output[axis]) - 0.89
        clamped = (place < 0) | (place > shape[axis] - 1)
        assert not np.take(gradient[..., axis], np.flatnonzero(clamped), axis).any()


def test_labels_that_a_float_cannot_hold_stay_exact() -> None:
    large = np.array([2**40 + 1, 2**40 + 1], np.int64).reshape(2, 1, 1)
    image = Image(large, Grid((2, 1, 1), np.eye(4)))
    half = Affine.from_parameters(translation=(0.3, 0, 0))
    assert resample(image, image.grid, half, "label").data[0, 0, 0] == 2**40 + 1


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_the_fast_path_agrees_with_points_one_by_one(interpolation: Interpolation) -> None:
    class Unknown:
        def __init__(self, transform: Transform) -> None:
            self.transform = transform

        def __call__(self, points: np.ndarray) -> np.ndarray:
            return self.transform(points)

        def inverse(self) -> Transform:
            return Unknown(self.transform.inverse())

    image, grid = label_image(5), oblique_grid((12, 13, 11), 6)
    chain = Chain((Affine.from_parameters((0.5, 0.1, -1), (0.1, 0.2, 0.1)), warp_on(grid)))
    fast = resample(image, grid, chain, interpolation).data
    slow = resample(image, grid, Unknown(chain), interpolation).data
    if interpolation in ("linear", "cubic"):
        assert np.quantile(np.abs(fast - slow), 0.999) < 5e-3
    else:
        assert (fast == slow).mean() > 0.999


def test_a_velocity_is_resampled_as_its_flow() -> None:
    image, grid = smooth_image(2), oblique_grid(SHAPE, 2)
    flow = Velocity(warp_on(grid, 3).field, grid)
    np.testing.assert_array_equal(
        resample(image, grid, flow).data, resample(image, grid, flow.displacement).data
    )


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_the_order_in_which_voxels_are_stored_does_not_matter(interpolation: Interpolation) -> None:
    image, grid = label_image(4), oblique_grid((9, 9, 9), 8)
    flip = np.array([[0, -1, 0, SHAPE[0] - 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    stored = np.ascontiguousarray(image.data[::-1].transpose(2, 0, 1))
    other = Image(stored, Grid(stored.shape, image.grid.affine @ flip))
    first = resample(image, grid, None, interpolation).data
    second = resample(other, grid, None, interpolation).data
    assert np.isclose(first, second, atol=2e-3).mean() > 0.998


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_fill_and_coverage_mark_the_same_voxels(interpolation: Interpolation) -> None:
    image, grid = label_image(6), oblique_grid((20, 20, 20), 9)
    transform = Chain((Affine.from_parameters((3, 2, 1)), warp_on(grid)))
    positions = read_positions(image, grid, transform)
    seen = coverage(image.grid, grid, transform)
    assert seen.data.dtype == np.float32
    assert ((seen.data == 1) == is_inside(positions, SHAPE)).mean() > 0.9999
    filled = resample(image, grid, transform, interpolation, fill=-1000).data
    np.testing.assert_array_equal(filled == -1000, seen.data == 0)


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_a_single_slice_is_resampled_in_its_plane(interpolation: Interpolation) -> None:
    shape = (20, 24, 1)
    image = Image(
        np.add.outer(np.arange(20), np.arange(24))[..., None].astype(np.int32), Grid(shape, np.eye(4))
    )
    shifted = resample(image, image.grid, Affine.from_parameters((3, 0, 0)), interpolation).data
    np.testing.assert_allclose(shifted[:17], image.data[3:], atol=1e-3)
    assert not shifted[17:].any()
    warped = resample(image, image.grid, warp_on(image.grid), interpolation).data
    assert np.isfinite(warped).all()
    assert warped.any()


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_the_number_of_threads_changes_no_bit(interpolation: Interpolation) -> None:
    image, grid = label_image(7), oblique_grid((40, 12, 12), 10)
    transform = Chain((warp_on(grid), Affine.from_parameters((1, 0, 0)), warp_on(grid, 1)))
    try:
        set_threads(1)
        alone = resample(image, grid, transform, interpolation).data
        set_threads(3)
        together = resample(image, grid, transform, interpolation).data
    finally:
        set_threads(0)
    np.testing.assert_array_equal(alone, together)


def test_unknown_interpolations_and_labels_of_floats_are_refused() -> None:
    image = smooth_image()
    with pytest.raises(InputError, match="interpolation: expected one of linear, nearest, cubic, label"):
        resample(image, image.grid, None, "quintic")
    with pytest.raises(InputError, match="expected an image of integers, found float32"):
        resample(image, image.grid, None, "label")
