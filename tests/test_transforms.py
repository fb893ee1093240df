"""Transforms of world points, against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from regcore.errors import InputError
from regcore.space import Grid
from regcore.transforms import (
    Affine,
    Chain,
    Displacement,
    Transform,
    Velocity,
    compose_on_grid,
    decompose,
    exp_affine,
    fit_affine,
    identity,
    log_affine,
    mean_log_affine,
    split,
)

seeds = st.integers(0, 2**32 - 1)
SHAPE = (16, 18, 14)


def random_affine(seed: int) -> Affine:
    """Plausible affine between two heads."""
    rng = np.random.default_rng(seed)
    return Affine.from_parameters(
        translation=rng.uniform(-10, 10, 3),
        rotation=rng.uniform(-0.5, 0.5, 3),
        zooms=rng.uniform(0.8, 1.25, 3),
        shears=rng.uniform(-0.1, 0.1, 3),
    )


def oblique_grid(shape: tuple[int, int, int] = SHAPE) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix() * [-2.0, 1.5, 3.0]
    affine[:3, 3] = [30.0, -20.0, 10.0]
    return Grid(shape, affine)


def smooth_field(seed: int, shape: tuple[int, int, int] = SHAPE, peak: float = 1.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [gaussian_filter(rng.normal(size=shape), [3 if n > 1 else 0 for n in shape]) for _ in range(3)]
    field = np.stack(parts, axis=-1)
    field[..., np.array(shape) == 1] = 0
    return (peak * field / np.abs(field).max()).astype(np.float32)


def points_inside(grid: Grid, seed: int, count: int = 200, margin: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return grid.to_world(rng.uniform(margin, np.array(grid.shape) - 1 - margin, size=(count, 3)))


class Opaque:
    """Transform of a type that no function here knows."""

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.transform(points)

    def inverse(self) -> Transform:
        return Opaque(self.transform.inverse())


# affine


@given(seeds)
def test_an_affine_and_its_inverse_cancel(seed: int) -> None:
    affine = random_affine(seed)
    points = np.random.default_rng(seed).uniform(-100, 100, (5, 3))
    np.testing.assert_allclose(affine.inverse()(affine(points)), points, atol=1e-9)


@given(seeds)
def test_product_of_affines_applies_the_right_one_first(seed: int) -> None:
    a, b = random_affine(seed), random_affine(seed + 1)
    points = np.random.default_rng(seed).uniform(-100, 100, (2, 4, 3))
    np.testing.assert_allclose((a @ b)(points), a(b(points)), atol=1e-9)
    np.testing.assert_allclose(Chain((a, b))(points), a(b(points)), atol=1e-9)


@given(seeds, st.booleans())
def test_the_parts_of_a_matrix_multiply_to_it(seed: int, reflect: bool) -> None:
    matrix = random_affine(seed).matrix.copy()
    if reflect:
        matrix[:3, 1] *= -1
    parts = decompose(matrix)
    shear = np.eye(3)
    shear[[0, 0, 1], [1, 2, 2]] = parts.shears
    np.testing.assert_allclose(parts.rotation @ np.diag(parts.zooms) @ shear, matrix[:3, :3], atol=1e-12)
    np.testing.assert_allclose(parts.translation, matrix[:3, 3])
    assert np.linalg.det(parts.rotation) == pytest.approx(1)
    assert (parts.zooms[1:] > 0).all()
    assert (parts.zooms[0] < 0) == reflect


def test_parameters_come_back_from_the_matrix() -> None:
    rotation = [0.1, -0.2, 0.3]
    affine = Affine.from_parameters((1, 2, 3), rotation, (1.1, 0.9, 1.2), (0.05, -0.02, 0.1))
    parts = decompose(affine.matrix)
    np.testing.assert_allclose(Rotation.from_matrix(parts.rotation).as_rotvec(), rotation)
    np.testing.assert_allclose(parts.zooms, [1.1, 0.9, 1.2])
    np.testing.assert_allclose(parts.shears, [0.05, -0.02, 0.1])


@given(seeds)
def test_exponential_undoes_the_logarithm(seed: int) -> None:
    matrix = random_affine(seed).matrix
    np.testing.assert_allclose(exp_affine(log_affine(matrix)), matrix, atol=1e-9)


@given(seeds)
def test_mean_of_an_affine_and_its_inverse_is_the_identity(seed: int) -> None:
    affine = random_affine(seed)
    mean = mean_log_affine([affine.matrix, affine.inverse().matrix])
    np.testing.assert_allclose(mean, 0, atol=1e-9)


def test_mean_of_rotations_about_one_axis_is_the_mean_angle() -> None:
    turns = [Affine.from_parameters(rotation=(0, 0, angle)).matrix for angle in (0.2, 1.0)]
    expected = Affine.from_parameters(rotation=(0, 0, 0.4)).matrix
    np.testing.assert_allclose(exp_affine(mean_log_affine(turns, [3, 1])), expected, atol=1e-12)


@pytest.mark.parametrize("diagonal", [(-1, 1, 1, 1), (-1, -1, 1, 1)])
def test_reflections_and_half_turns_have_no_logarithm(diagonal: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="real logarithm"):
        log_affine(np.diag(diagonal))


@pytest.mark.parametrize("matrix", [np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan), 2 * np.eye(4)])
def test_impossible_affines_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(InputError, match="affine: expected"):
        Affine(matrix)


# displacement and velocity


def test_displacement_agrees_with_scipy_inside_and_is_the_identity_outside() -> None:
    grid, field = oblique_grid(), smooth_field(0)
    transform = Displacement(field, grid)
    rng = np.random.default_rng(1)
    voxels = rng.uniform(-3, np.array(SHAPE) + 2, size=(2000, 3))
    expected = voxels.copy()
    for axis in range(3):
        expected[:, axis] += map_coordinates(field[..., axis], voxels.T, order=1, mode="nearest")
    outside = ((voxels < -0.5) | (voxels > np.array(SHAPE) - 0.5)).any(axis=1)
    expected[outside] = voxels[outside]
    assert 0 < outside.sum() < len(voxels)
    np.testing.assert_allclose(grid.to_voxel(transform(grid.to_world(voxels))), expected, atol=1e-5)


def test_field_in_millimetres_is_what_points_move_by() -> None:
    grid, field = oblique_grid(), smooth_field(2)
    transform = Displacement(field, grid)
    moved = transform(grid.world_points()) - grid.world_points()
    np.testing.assert_allclose(transform.to_world(), moved, atol=1e-4)
    np.testing.assert_allclose(Displacement.from_world(moved, grid).field, field, atol=1e-6)


def test_displacement_and_its_inverse_cancel_both_ways() -> None:
    grid = oblique_grid()
    transform = Displacement(smooth_field(3), grid)
    points = points_inside(grid, 4, margin=3)
    back = transform.inverse()
    for there in (back(transform(points)), transform(back(points))):
        assert np.linalg.norm(grid.to_voxel(there) - grid.to_voxel(points), axis=1).mean() < 0.05


def test_flow_of_a_linear_velocity_is_the_matrix_exponential() -> None:
    grid = Grid((33, 33, 33), np.diag([2.0, 2.0, 2.0, 1.0]))
    generator = np.array([[0.1, -0.3, 0.0], [0.3, -0.05, 0.1], [0.0, 0.05, 0.0]])
    offsets = np.stack(np.meshgrid(*[np.arange(33) - 16.0] * 3, indexing="ij"), axis=-1)
    flow = Velocity((offsets @ generator.T).astype(np.float32), grid)
    points = np.random.default_rng(0).uniform(-12, 12, (100, 3))
    mapped = flow(points + grid.centre) - grid.centre
    np.testing.assert_allclose(mapped, points @ expm(generator).T, atol=0.03)


def test_flow_backwards_undoes_the_flow() -> None:
    grid = oblique_grid()
    flow = Velocity(smooth_field(5, peak=2.0), grid)
    points = points_inside(grid, 6, margin=4)
    error = grid.to_voxel(flow.inverse()(flow(points))) - grid.to_voxel(points)
    assert np.linalg.norm(error, axis=1).mean() < 0.05


def test_fields_of_the_wrong_shape_or_not_finite_are_refused() -> None:
    grid = oblique_grid()
    with pytest.raises(InputError, match="displacement: expected a field of shape"):
        Displacement(np.zeros(SHAPE, np.float32), grid)
    with pytest.raises(InputError, match="velocity: expected finite"):
        Velocity(np.full((*SHAPE, 3), np.nan, np.float32), grid)


def test_points_that_are_not_numbers_stay_so() -> None:
    grid = oblique_grid()
    mapped = Displacement(smooth_field(7), grid)([[np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0]])
    assert not np.isfinite(mapped).all()


# chains and splitting


def test_a_chain_applies_the_last_transform_first_and_inverts_in_reverse() -> None:
    grid = oblique_grid()
    affine, warp = random_affine(1), Displacement(smooth_field(8), grid)
    chain = Chain((affine, Chain((warp,))))
    points = points_inside(grid, 9, margin=3)
    assert chain.transforms == (affine, warp)
    np.testing.assert_array_equal(chain(points), affine(warp(points)))
    inverse = chain.inverse()
    assert isinstance(inverse.transforms[0], Displacement)
    assert isinstance(inverse.transforms[1], Affine)


def test_the_empty_chain_is_the_identity() -> None:
    points = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(Chain()(points), points)
    np.testing.assert_array_equal(identity()(points), points)
    affine, displacement = split(Chain(), oblique_grid())
    np.testing.assert_array_equal(affine.matrix, np.eye(4))
    assert not displacement.field.any()


def sample_transforms() -> dict[str, Transform]:
    grid, other = oblique_grid(), Grid((20, 20, 20), np.diag([3.0, 3.0, 3.0, 1.0]))
    affine, warp = random_affine(1), Displacement(smooth_field(1), grid)
    elsewhere = Displacement(smooth_field(2, (20, 20, 20)), other)
    return {
        "affine": affine,
        "displacement": warp,
        "velocity": Velocity(smooth_field(3), grid),
        "affine after displacement": Chain((affine, warp)),
        "affines after velocity": Chain((affine, random_affine(2), Velocity(smooth_field(4), grid))),
        "displacement after affine": Chain((warp, affine)),
        "other grid": Chain((affine, elsewhere)),
        "warm start": Chain((affine, warp, random_affine(3), warp)),
        "opaque": Opaque(Chain((affine, warp))),
        "affine after opaque": Chain((affine, Opaque(warp))),
        "empty": Chain(),
    }


@pytest.mark.parametrize("name", sample_transforms())
@pytest.mark.parametrize("given_affine", [None, random_affine(7)])
def test_split_and_composed_transforms_equal_the_original_at_voxel_centres(
    name: str, given_affine: Affine | None
) -> None:
    grid, transform = oblique_grid(), sample_transforms()[name]
    points = grid.world_points()
    affine, displacement = split(transform, grid, given_affine)
    np.testing.assert_allclose(affine(displacement(points)), transform(points), atol=2e-4)
    np.testing.assert_allclose(compose_on_grid(transform, grid)(points), transform(points), atol=2e-4)
    if given_affine is not None:
        assert affine is given_affine


def test_split_keeps_the_parts_of_a_registration_as_they_are() -> None:
    affine, warp = random_affine(1), Displacement(smooth_field(1), oblique_grid())
    outer, displacement = split(Chain((affine, warp)), oblique_grid())
    np.testing.assert_array_equal(outer.matrix, affine.matrix)
    assert np.shares_memory(displacement.field, warp.field)


def test_the_fitted_affine_is_exact_for_an_affine_and_best_for_the_rest() -> None:
    grid, affine = oblique_grid(), random_affine(5)
    np.testing.assert_allclose(fit_affine(Opaque(affine), grid).matrix, affine.matrix, atol=1e-9)
    warp = Displacement(smooth_field(6), grid)
    points = grid.world_points()

    def residual(candidate: Affine) -> float:
        return float(np.square(warp(points) - candidate(points)).sum())

    best = fit_affine(warp, grid)
    for seed in range(5):
        change = exp_affine(1e-3 * np.vstack([np.random.default_rng(seed).normal(size=(3, 4)), np.zeros(4)]))
        assert residual(best) < residual(Affine(best.matrix @ change))


def test_a_single_slice_never_moves_out_of_its_plane() -> None:
    shape = (20, 24, 1)
    grid = oblique_grid(shape)
    warp = Displacement(smooth_field(1, shape), grid)
    affine, displacement = split(Opaque(warp), grid)
    normal = grid.affine[:3, 2] / grid.spacing[2]
    np.testing.assert_allclose(affine.matrix[:3, :3] @ normal, normal, atol=1e-9)
    assert not displacement.field[..., 2].any()
    points = grid.world_points()
    np.testing.assert_allclose(affine(displacement(points)), warp(points), atol=1e-4)
    for moved in (warp(points), Velocity(smooth_field(2, shape), grid)(points), warp.inverse()(points)):
        np.testing.assert_allclose(grid.to_voxel(moved)[..., 2], 0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seeds, seeds)
def test_composition_on_a_grid_commutes_with_the_points(first: int, second: int) -> None:
    grid = oblique_grid((8, 9, 7))
    warp = Displacement(smooth_field(first, grid.shape), grid)
    chain = Chain((random_affine(second), warp, random_affine(first), warp))
    points = grid.world_points()
    np.testing.assert_allclose(compose_on_grid(chain, grid)(points), chain(points), atol=2e-4)
