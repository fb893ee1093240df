"""The deformation models that minimise an energy: what they recover, keep and refuse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.exponential import exponential, logarithm
from regcore.kernels.fields import carry_field, inner_product
from regcore.kernels.parallel import set_threads
from regcore.kernels.smooth import gaussian_smooth
from regcore.registration import DeformableSettings, Registration, RegistrationSettings, register
from regcore.registration.descent import Energy, descend
from regcore.registration.middle import middle_frame, middle_grid
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Displacement, compose_on_grid

MODELS = ("displacement", "velocity", "symmetric")
REGULARISERS = ("diffusion", "bending", "elastic", "total_variation")
SHAPE = (44, 40, 36)
each_model = pytest.mark.parametrize("model", MODELS)


def window(shape: tuple[int, ...], width: float) -> np.ndarray:
    """One in the middle of a grid, falling smoothly to zero at its faces."""
    axes = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 if n > 1 else np.ones(1) for n in shape]
    product = np.prod(np.meshgrid(*axes, indexing="ij"), axis=0)
    return np.minimum(product / width, 1).astype(np.float32)


def texture(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    noise = gaussian_smooth(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), 1.8)
    return ((0.6 + 0.2 * noise / noise.std()).clip(0, 1.2) * window(shape, 0.2)).astype(np.float32)


def known_warp(grid: Grid, longest_vox: float = 3.0, seed: int = 1) -> Displacement:
    noise = np.random.default_rng(seed).standard_normal((*grid.shape, 3)).astype(np.float32)
    field = gaussian_smooth(noise, 5.0) * window(grid.shape, 0.4)[..., None]
    field[..., np.array(grid.shape) == 1] = 0
    return Displacement(field * np.float32(longest_vox / np.linalg.norm(field, axis=-1).max()), grid)


def run(fixed: Image, moving: Image, initial: Affine | None = None, **options: object) -> Registration:
    values = {"shrink": (2.0, 1.0), "iterations": (40, 20), **options}
    return register(fixed, moving, RegistrationSettings((), DeformableSettings(**values)), initial=initial)


def inner_points(image: Image) -> np.ndarray:
    return image.grid.to_world(np.argwhere(window(image.grid.shape, 0.2) >= 1)[::5])


ANISOTROPIC = np.diag([1.0, 1.2, 1.5, 1.0])


@pytest.mark.parametrize(
    ("model", "regulariser", "metric"),
    [
        *((model, "diffusion", "lncc") for model in MODELS),
        *(("displacement", r, "ssd") for r in REGULARISERS),
    ],
)
def test_a_known_warp_is_recovered_without_folds(model: str, regulariser: str, metric: str) -> None:
    grid = Grid(SHAPE, ANISOTROPIC)
    moving = Image(texture(), grid)
    truth = known_warp(grid)
    fixed = resample(moving, grid, truth)
    weight = None if metric == "lncc" else {"bending": 0.02}.get(regulariser, 0.002)
    result = run(
        fixed, moving, model=model, regulariser=regulariser, metric=metric, regularisation_weight=weight
    )
    points = inner_points(fixed)
    before = np.linalg.norm(truth(points) - points, axis=1).mean()
    after = np.linalg.norm(result.forward(points) - truth(points), axis=1).mean()
    assert after < 0.35 * before
    assert result.quality["folded_voxels"] == 0
    assert np.linalg.norm(result.backward(result.forward(points)) - points, axis=1).mean() < 0.1
    assert (result.velocity is None) == (model == "displacement")


@pytest.mark.parametrize(
    ("model", "regulariser"),
    [*((m, "diffusion") for m in MODELS), *(("displacement", r) for r in REGULARISERS[1:])],
)
def test_the_energy_is_its_parts_and_never_rises(model: str, regulariser: str) -> None:
    grid = Grid(SHAPE, ANISOTROPIC)
    moving = Image(texture(), grid)
    result = run(
        resample(moving, grid, known_warp(grid)),
        moving,
        model=model,
        regulariser=regulariser,
        iterations=(15, 6),
    )
    rows = result.iterations
    assert {row.level for row in rows} == {0, 1}
    for row in rows:
        assert row.regularisation_weight > 0
        assert row.energy == pytest.approx(row.data_term + row.regularisation_weight * row.regulariser_term)
    for before, after in pairwise(rows):
        assert after.energy < before.energy or after.level > before.level
    assert rows[-1].regulariser_term > 0


def test_total_variation_keeps_a_sliding_discontinuity_and_diffusion_does_not() -> None:
    grid = Grid((40, 48, 1), np.eye(4))
    noise = gaussian_smooth(np.random.default_rng(3).standard_normal(grid.shape).astype(np.float32), 1.5)
    moving = Image((0.5 + 0.15 * noise / noise.std()).clip(0, 1).astype(np.float32), grid)
    slide = np.zeros((*grid.shape, 3), np.float32)
    slide[:20, ..., 1], slide[20:, ..., 1] = 2, -2
    fixed = resample(moving, grid, Displacement(slide, grid))

    def error_at_the_interface(regulariser: str, weight: float) -> float:
        options = {"iterations": (60, 60), "update_sigma_vox": 0.7, "tolerance": 0.0}
        found = run(
            fixed,
            moving,
            model="displacement",
            regulariser=regulariser,
            regularisation_weight=weight,
            **options,
        ).displacement
        assert found is not None
        return float(np.linalg.norm(found.field - slide, axis=-1)[16:24, 6:-6].mean())

    sharp = min(error_at_the_interface("total_variation", weight) for weight in (0.1, 0.4))
    blurred = min(error_at_the_interface("diffusion", weight) for weight in (0.1, 0.4))
    assert sharp < 0.4 * blurred


TURNED = np.array([[0.0, 0, 1.3, -20], [-1.1, 0, 0, 25], [0, 1.2, 0, -22], [0, 0, 0, 1]])


@pytest.mark.parametrize("affinely", [False, True])
def test_swapping_the_images_inverts_the_symmetric_model(affinely: bool) -> None:
    """Also where the images have other axes, voxels and sizes, and an affine lies between them."""
    grid = Grid(SHAPE, ANISOTROPIC)
    fixed, start, other = Image(texture(), grid), Affine(np.eye(4)), grid
    if affinely:
        start = Affine.from_parameters((3, -2, 4), (0.1, -0.15, 0.2), (1.1, 0.9, 1.05), centre=grid.centre)
        other = Grid((40, 46, 42), TURNED)
        shift = start(grid.centre) - other.centre
        other = Grid(other.shape, Affine.from_parameters(shift).matrix @ other.affine)
    moving = resample(fixed, other, start.inverse())
    moving = resample(moving, other, known_warp(other))

    def disagreement(model: str) -> float:
        options = {"model": model, "iterations": (20, 10), "tolerance": 0.0}
        there = run(fixed, moving, start, **options)
        back = run(moving, fixed, start.inverse(), **options)
        points = inner_points(fixed)
        assert np.linalg.norm(there.forward(points) - start(points), axis=1).mean() > 0.5
        return float(np.linalg.norm(there.forward(points) - back.backward(points), axis=1).mean())

    symmetric, velocity = disagreement("symmetric"), disagreement("velocity")
    assert symmetric < (0.05 if affinely else 1e-3)
    assert symmetric < 0.2 * velocity


@each_model
def test_two_dimensional_images_stay_in_their_plane(model: str) -> None:
    affine = np.array([[0.8, 0, 0, 4], [0, 0, 2.5, -3], [0, -1.0, 0, 2], [0, 0, 0, 1]])
    grid = Grid((48, 44, 1), affine)
    moving = Image(texture(grid.shape), grid)
    truth = known_warp(grid)
    fixed = resample(moving, grid, truth)
    result = run(fixed, moving, model=model)
    points = inner_points(fixed)
    before = np.linalg.norm(truth(points) - points, axis=1).mean()
    assert np.linalg.norm(result.forward(points) - truth(points), axis=1).mean() < 0.5 * before
    assert result.displacement is not None
    assert result.inverse is not None
    assert not result.displacement.field[..., 2].any()
    assert not result.inverse.field[..., 2].any()


@each_model
def test_the_number_of_threads_does_not_change_a_bit(model: str) -> None:
    grid = Grid(SHAPE, ANISOTROPIC)
    moving = Image(texture(), grid)
    fixed = resample(moving, grid, known_warp(grid))
    mask = Image((window(SHAPE, 0.1) >= 1).astype(np.uint8), grid)
    settings = RegistrationSettings((), DeformableSettings(model=model, shrink=(2, 1), iterations=(6, 3)))
    results = []
    for threads in (1, 2, 3):
        set_threads(threads)
        results.append(register(fixed, moving, settings, fixed_mask=mask, moving_mask=mask))
    set_threads(0)
    for other in results[1:]:
        assert np.array_equal(results[0].displacement.field, other.displacement.field)
        assert np.array_equal(results[0].inverse.field, other.inverse.field)
        assert results[0].iterations == other.iterations


@each_model
def test_outside_the_masks_nothing_counts(model: str) -> None:
    grid = Grid(SHAPE, np.eye(4))
    clean = texture()
    spoilt = clean.copy()
    spoilt[:14] += texture(seed=5)[:14]
    inside = np.ones(SHAPE, np.uint8)
    inside[:18] = 0
    mask = Image(inside, grid)
    stage = DeformableSettings(
        model=model, metric="ssd", regularisation_weight=0.01, shrink=(1,), iterations=(10,)
    )
    settings = RegistrationSettings((), stage)
    result = register(Image(clean, grid), Image(spoilt, grid), settings, fixed_mask=mask, moving_mask=mask)
    free = register(Image(clean, grid), Image(spoilt, grid), settings)
    assert result.displacement is not None
    assert free.displacement is not None
    assert np.abs(result.displacement.field).max() < 0.1 < np.abs(free.displacement.field).max()


@each_model
def test_a_warm_start_keeps_what_it_is_given(model: str) -> None:
    grid = Grid(SHAPE, ANISOTROPIC)
    moving = Image(texture(), grid)
    truth = compose_on_grid(known_warp(grid, 2.0), grid)
    nothing = DeformableSettings(model=model, shrink=(1.0,), iterations=(0,))
    fixed = resample(moving, grid, truth)
    result = register(fixed, moving, RegistrationSettings((), nothing), initial=truth)
    points = inner_points(fixed)
    assert np.linalg.norm(result.forward(points) - truth(points), axis=1).mean() < 0.03
    more = DeformableSettings(model=model, metric="ssd", shrink=(1.0,), iterations=(1,))
    row = register(fixed, moving, RegistrationSettings((), more), initial=truth).iterations[0]
    cold = register(fixed, moving, RegistrationSettings((), more)).iterations[0]
    assert row.data_term < 0.3 * cold.data_term


def test_descent_takes_the_drift_out_and_then_goes_down() -> None:
    target = np.random.default_rng(0).standard_normal((6, 6, 6, 3)).astype(np.float32)

    def bowl(field: np.ndarray) -> Energy:
        value = float(((field - target) ** 2).sum(dtype=np.float64))
        return Energy(value, value, 0.0, 2 * (field - target))

    plain = descend(bowl, np.zeros_like(target), 30, 0.0, 1.0)
    assert np.abs(plain - target).max() < 1e-3
    drift = np.full_like(target, 0.25)
    energies: list[float] = []
    descend(
        bowl, target + 0.25, 5, 0.0, 1.0, drift=drift, note=lambda _, energy: energies.append(energy.total)
    )
    assert energies[0] == pytest.approx(0.0, abs=1e-6)


# settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "fluid"}, "deformable.model: expected one of greedy, displacement, velocity, symmetric"),
        ({"model": "velocity", "regulariser": "curvature"}, "deformable.regulariser"),
        (
            {"model": "velocity", "regularisation_weight": -1},
            "regularisation_weight: expected a number from 0",
        ),
        ({"regularisation_weight": 0.1}, "expected null for the model greedy"),
        ({"lame_mu": 0}, "lame_mu"),
        ({"lame_mu": 3, "lame_lambda": -2}, "lame_lambda: expected more than -2, "),
    ],
)
def test_impossible_settings_name_their_key(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        RegistrationSettings.from_dict({"deformable": settings})


def test_settings_survive_a_round_trip() -> None:
    chosen = {
        "model": "symmetric",
        "regulariser": "elastic",
        "lame_lambda": 0.5,
        "regularisation_weight": 0.2,
    }
    settings = RegistrationSettings.from_dict({"deformable": chosen})
    assert RegistrationSettings.from_dict(settings.to_dict()) == settings


def test_an_affine_without_a_middle_is_refused() -> None:
    grid = Grid((8, 8, 8), np.eye(4))
    with pytest.raises(InputError, match="half turn"):
        middle_frame(grid, grid, Affine(np.diag([-1.0, -1.0, 1.0, 1.0])))


# the middle, and kernels


def test_the_middle_grid_does_not_depend_on_the_order() -> None:
    first, second = Grid(SHAPE, ANISOTROPIC), Grid((30, 33, 28), TURNED)
    one, other = middle_grid(first, second), middle_grid(second, first)
    points = one.world_points().reshape(-1, 3)
    voxels = other.to_voxel(points)
    np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-9)
    assert one.size == other.size
    for grid in (first, second):
        inside = one.to_voxel(grid.corners())
        assert (inside >= -0.5 - 1e-6).all()
        assert (inside <= np.array(one.shape) - 0.5 + 1e-6).all()


def test_the_logarithm_is_the_inverse_of_the_exponential() -> None:
    velocity = known_warp(Grid(SHAPE, np.eye(4)), 2.0).field
    found = logarithm(exponential(velocity))
    assert np.abs(exponential(found) - exponential(velocity)).max() < 0.1
    assert np.abs(found - velocity).mean() < 0.01


def test_a_carried_displacement_is_the_same_map() -> None:
    grid, other = Grid(SHAPE, ANISOTROPIC), Grid((60, 62, 58), TURNED)
    warp = known_warp(grid)
    centred = Affine.from_parameters(grid.centre - other.centre).matrix @ other.affine
    matrix = grid.inverse_affine @ centred
    carried = Displacement(carry_field(warp.field, matrix, other.shape), Grid(other.shape, centred))
    points = inner_points(Image(warp.field[..., 0], grid))
    assert np.linalg.norm(carried(points) - warp(points), axis=1).mean() < 0.05
    np.testing.assert_allclose(carry_field(warp.field, np.eye(4), SHAPE), warp.field, atol=1e-6)


def test_the_inner_product_agrees_with_numpy_on_any_number_of_threads() -> None:
    first, second = np.random.default_rng(4).standard_normal((2, 33, 20, 18, 3)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        found.append(inner_product(first, second))
    set_threads(0)
    assert found[0] == pytest.approx(np.vdot(first.astype(np.float64), second.astype(np.float64)), rel=1e-4)
    assert found[0] == found[1] == found[2]
