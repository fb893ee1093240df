"""What the deformation models minimise: exact gradients, kernels behind them, a descent that only falls."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from test_registration import OBLIQUE, smooth_warp

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.compose import compose
from regcore.kernels.exponential import exponential, exponential_and_adjoint, logarithm, unsquare
from regcore.kernels.fields import carry_field, inner_product
from regcore.kernels.parallel import set_threads
from regcore.kernels.smooth import gaussian_smooth
from regcore.landmarks import Landmarks
from regcore.registration import Channel, DeformableSettings
from regcore.registration.descent import Energy, descend
from regcore.registration.landmark_term import LandmarkTerm
from regcore.registration.middle import Frame, middle_frame, middle_grid
from regcore.registration.settings import DEFORMABLE_MODELS, METRICS, REGULARISERS
from regcore.registration.similarity import at_level, with_measures
from regcore.registration.variational import energy_on
from regcore.space import Grid
from regcore.transforms import Affine, Displacement, identity

MODELS = DEFORMABLE_MODELS[1:]
ANISOTROPIC = np.diag([1.0, 1.4, 1.8, 1.0])
TURNED = np.array([[0.0, 0, 1.3, -8], [-1.1, 0, 0, 12], [0, 1.2, 0, -9], [0, 0, 0, 1]])
START = Affine.from_parameters((0.5, -0.8, 0.6), (0.05, -0.08, 0.1), (1.05, 0.95, 1.02))
FLAT_START = Affine.from_parameters((0.5, -0.8, 0), (0, 0, 0.1), (1.05, 0.95, 1))


def smooth(shape: tuple[int, ...], seed: int, sigma: float = 2.0) -> np.ndarray:
    noise = gaussian_smooth(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), sigma)
    return noise / np.abs(noise).max()


def picture(grid: Grid, seed: int) -> Image:
    return Image(0.5 + 0.4 * smooth(grid.shape, seed), grid)


def energy_of(
    model: str, metric: str, regulariser: str, flat: bool, weight: float, landmark_weight: float = 0.0
) -> tuple[Callable[[np.ndarray], Energy], Grid]:
    """Energy of two channels whose images have other grids, with an affine between them, and landmarks."""
    shape = (16, 14, 1) if flat else (13, 12, 11)
    grid = Grid(shape, ANISOTROPIC)
    other = Grid((17, 16, 1), np.diag([0.9, 1.1, 1.8, 1])) if flat else Grid((15, 16, 14), TURNED)
    settings = DeformableSettings(metric, model=model, regulariser=regulariser, lame_lambda=0.5, bins=16)
    start = FLAT_START if flat else START
    frame = Frame(grid, identity(), start)
    if model == "symmetric":
        frame = middle_frame(grid, other, start)
    pairs = [Channel(picture(grid, s), picture(other, s + 2), w) for s, w in ((0, 1.0), (1, 0.5))]
    landmarks = None
    if landmark_weight:
        voxels = np.random.default_rng(5).uniform(3, 9, (5, 3)) * (np.array(shape) > 1)
        points = grid.to_world(voxels)
        moved = start(points) + np.array([0.7, -0.4, 0])
        landmarks = LandmarkTerm(Landmarks(points), Landmarks(moved), landmark_weight)
    channels = with_measures(at_level(pairs, 0.1, 0.1), settings)
    return energy_on(frame, settings, channels, weight, landmarks=landmarks), frame.grid


def check_gradient(energy: Callable[[np.ndarray], Energy], field: np.ndarray, free: np.ndarray) -> None:
    gradient = energy(field).gradient.astype(np.float64)
    noise = smooth(field.shape, 8, 1.0) * free
    # along the gradient, so that the derivative is no small difference of large parts
    direction = noise / np.linalg.norm(noise) + gradient / np.linalg.norm(gradient)
    direction /= np.abs(direction).max()
    step = np.float32(0.001) * direction.astype(np.float32)
    change = (energy(field + step).total - energy(field - step).total) / 2
    assert change == pytest.approx(float((gradient * step).sum()), rel=1e-2)


@pytest.mark.parametrize("flat", [False, True], ids=["3D", "2D"])
@pytest.mark.parametrize(
    ("model", "metric", "regulariser"),
    [(model, metric, r) for model in MODELS for metric, r in zip(METRICS, cycle(REGULARISERS), strict=False)],
)
def test_the_gradient_is_the_derivative_of_the_energy(
    model: str, metric: str, regulariser: str, flat: bool
) -> None:
    """Of the data term alone, and of the whole with a regulariser that counts as much."""
    energy, grid = energy_of(model, metric, regulariser, flat, 0.0)
    free = np.array(grid.shape) > 1
    field = 1.2 * smooth((*grid.shape, 3), 13) * free
    here = energy(field)
    weight = abs(here.data_term / here.regulariser_term)
    for used in (0.0, weight):
        energy, _ = energy_of(model, metric, regulariser, flat, used)
        here = energy(field)
        assert here.total == pytest.approx(here.data_term + used * here.regulariser_term)
        check_gradient(energy, field, free)


@pytest.mark.parametrize("flat", [False, True], ids=["3D", "2D"])
@pytest.mark.parametrize("model", MODELS)
def test_the_gradient_with_landmarks_is_the_derivative_of_the_energy(model: str, flat: bool) -> None:
    images, grid = energy_of(model, "ssd", "diffusion", flat, 0.0)
    free = np.array(grid.shape) > 1
    field = 1.2 * smooth((*grid.shape, 3), 13) * free
    # so much that next to nothing but the landmarks is felt
    energy, _ = energy_of(model, "ssd", "diffusion", flat, 0.0, landmark_weight=10.0)
    assert energy(field).total > 20 * images(field).total
    check_gradient(energy, field, free)


# kernels


def slow_square(field: np.ndarray) -> np.ndarray:
    """``compose(u, u)`` in float64."""
    points = np.indices(field.shape[:3]) + np.moveaxis(field, -1, 0)
    read = [map_coordinates(field[..., c], points, order=1, mode="nearest") for c in range(3)]
    return field + np.stack(read, axis=-1)


@pytest.mark.parametrize(("shape", "longest"), [((40, 3, 2), 1.5), ((40, 2, 1), 9.0), ((6, 5, 1), 0.7)])
def test_unsquare_is_the_transposed_derivative_of_a_square(
    shape: tuple[int, int, int], longest: float
) -> None:
    field = (longest * smooth((*shape, 3), 0, 1.0)).astype(np.float64)
    slope = np.random.default_rng(1).standard_normal(field.shape)
    expected, step = np.empty(field.size), 1e-6
    for k in range(field.size):
        change = np.zeros(field.size)
        change[k] = step
        change = change.reshape(field.shape)
        # a singleton axis has no derivative across it
        expected[k] = ((slow_square(field + change) - slow_square(field - change)) * slope).sum() / (2 * step)
    found = unsquare(field.astype(np.float32), slope.astype(np.float32))
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-4 * np.abs(expected).max())


def test_the_number_of_threads_changes_no_bit_of_the_kernels() -> None:
    first, second = np.random.default_rng(4).standard_normal((2, 70, 20, 18, 3)).astype(np.float32)
    found = []
    for threads in (1, 2, 4):
        set_threads(threads)
        displacement, adjoint = exponential_and_adjoint(3 * gaussian_smooth(first, 2.0))
        carried = carry_field(first, TURNED, (30, 31, 32))
        found.append((inner_product(first, second), displacement, adjoint(second), carried))
    set_threads(0)
    exact = np.vdot(first.astype(np.float64), second.astype(np.float64))
    assert found[0][0] == pytest.approx(exact, rel=1e-4)
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            assert np.array_equal(one, another)


def test_the_exponentials_of_a_velocity_and_its_negative_undo_each_other() -> None:
    velocity = smooth_warp(Grid((40, 36, 32), np.eye(4)), 4.0).field
    rest = compose(exponential(velocity), exponential(-velocity))
    assert np.abs(rest[6:-6, 6:-6, 6:-6]).max() < 0.02


def test_the_logarithm_is_the_inverse_of_the_exponential() -> None:
    velocity = smooth_warp(Grid((40, 36, 32), np.eye(4)), 3.0).field
    found = logarithm(exponential(velocity))
    # at the edge a velocity is not what its exponential, which stops there, came from
    inner = (slice(6, -6),) * 3
    assert np.abs(exponential(found) - exponential(velocity))[inner].max() < 0.05
    assert np.abs(found - velocity)[inner].mean() < 0.02


def test_a_carried_displacement_is_the_same_map() -> None:
    grid, other = Grid((44, 40, 36), ANISOTROPIC), Grid((60, 62, 58), TURNED)
    warp = smooth_warp(grid, 3.0)
    centred = Affine.from_parameters(grid.centre - other.centre).matrix @ other.affine
    carried = Displacement(
        carry_field(warp.field, grid.inverse_affine @ centred, other.shape), Grid(other.shape, centred)
    )
    points = grid.to_world(np.argwhere(np.ones(grid.shape))[::101])
    assert np.linalg.norm(carried(points) - warp(points), axis=1).mean() < 0.1
    np.testing.assert_allclose(carry_field(warp.field, np.eye(4), grid.shape), warp.field, atol=1e-6)


# the middle, and the descent


def test_the_middle_grid_does_not_depend_on_the_order() -> None:
    first, second = Grid((44, 40, 36), OBLIQUE), Grid((30, 33, 28), TURNED)
    one, other = middle_grid(first, second), middle_grid(second, first)
    voxels = other.to_voxel(one.world_points().reshape(-1, 3))
    np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-9)
    assert one.size == other.size
    for grid in (first, second):
        inside = one.to_voxel(grid.corners())
        assert (inside >= -0.5 - 1e-6).all()
        assert (inside <= np.array(one.shape) - 0.5 + 1e-6).all()


def test_an_affine_without_a_middle_is_refused() -> None:
    grid = Grid((8, 8, 8), np.eye(4))
    with pytest.raises(InputError, match="half turn"):
        middle_frame(grid, grid, Affine(np.diag([-1.0, -1.0, 1.0, 1.0])))


def test_descent_reaches_the_bottom_and_its_energy_only_falls() -> None:
    """Of a valley ten times steeper along one axis than along another."""
    target = np.random.default_rng(0).standard_normal((6, 6, 6, 3)).astype(np.float32)
    steepness = np.array([1.0, 3.0, 10.0], np.float32)

    def valley(field: np.ndarray) -> Energy:
        value = float((steepness * (field - target) ** 2).sum(dtype=np.float64))
        return Energy(value, value, 0.0, 2 * steepness * (field - target))

    energies: list[float] = []
    found = descend(
        valley, np.zeros_like(target), 100, 0.0, 1.0, note=lambda _, energy: energies.append(energy.total)
    )
    assert (np.diff(energies) < 0).all()
    assert np.abs(found - target).max() < 0.02


def test_descent_stops_where_the_energy_hardly_falls_and_takes_the_drift_out() -> None:
    target = np.random.default_rng(0).standard_normal((6, 6, 6, 3)).astype(np.float32)

    def bowl(field: np.ndarray) -> Energy:
        value = 1 + float(((field - target) ** 2).sum(dtype=np.float64))
        return Energy(value, value, 0.0, 2 * (field - target))

    numbers: list[int] = []
    descend(bowl, target + 1, 300, 0.0, 0.01, 0.5, note=lambda number, _: numbers.append(number))
    assert 10 < numbers[-1] < 300
    energies: list[float] = []
    drift = np.full_like(target, 0.25)
    descend(bowl, target + drift, 5, 0.0, 1.0, drift=drift, note=lambda _, e: energies.append(e.total))
    assert energies[0] == pytest.approx(1.0)
