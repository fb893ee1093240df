"""The deformation models that minimise an energy: what they recover, keep and refuse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from test_registration import OBLIQUE

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.parallel import set_threads
from regcore.kernels.smooth import gaussian_smooth
from regcore.registration import Channel, DeformableSettings, Registration, RegistrationSettings, register
from regcore.registration.settings import DEFORMABLE_MODELS, METRICS, REGULARISERS
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Displacement, compose_on_grid, identity

MODELS = DEFORMABLE_MODELS[1:]
SOLID = Grid((36, 32, 30), OBLIQUE)
FLAT = Grid((48, 44, 1), np.array([[0.8, 0, 0, 4], [0, 0, 2.5, -3], [0, -1.0, 0, 2], [0, 0, 0, 1]]))
each_model = pytest.mark.parametrize("model", MODELS)


def window(shape: tuple[int, ...], width: float) -> np.ndarray:
    """One in the middle of a grid, falling smoothly to zero at its faces."""
    axes = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 if n > 1 else np.ones(1) for n in shape]
    product = np.prod(np.meshgrid(*axes, indexing="ij"), axis=0)
    return np.minimum(product / width, 1).astype(np.float32)


def picture(grid: Grid, seed: int = 0) -> Image:
    """A texture without edges or flat parts, where lncc has nothing to go by."""
    noise = np.random.default_rng(seed).standard_normal(grid.shape).astype(np.float32)
    noise = gaussian_smooth(noise, 1.8)
    data = (0.6 + 0.2 * noise / noise.std()).clip(0, 1.2) * window(grid.shape, 0.2)
    return Image(data.astype(np.float32), grid)


def known_warp(grid: Grid, longest_vox: float) -> Displacement:
    noise = np.random.default_rng(1).standard_normal((*grid.shape, 3)).astype(np.float32)
    field = gaussian_smooth(noise, 5.0) * window(grid.shape, 0.4)[..., None]
    field[..., np.array(grid.shape) == 1] = 0
    return Displacement(field * np.float32(longest_vox / np.linalg.norm(field, axis=-1).max()), grid)


def inner_points(grid: Grid) -> np.ndarray:
    return grid.to_world(np.argwhere(window(grid.shape, 0.2) >= 1)[::5])


def errors(result: Registration, truth: Displacement) -> tuple[float, float]:
    """Mean distance from the truth inside, before and after."""
    points = inner_points(truth.grid)
    found, there = result.forward(points), truth(points)
    before, after = np.linalg.norm(points - there, axis=1), np.linalg.norm(found - there, axis=1)
    return float(before.mean()), float(after.mean())


def run(
    fixed: Image,
    moving: Image,
    initial: Affine | Displacement | None = None,
    masks: tuple[Image | None, Image | None] = (None, None),
    channels: tuple[Channel, ...] = (),
    **options: object,
) -> Registration:
    """Only the deformable stage, on two levels unless told otherwise."""
    stage = DeformableSettings(**{"shrink": (2.0, 1.0), "iterations": (30, 15), **options})
    return register(
        fixed,
        moving,
        RegistrationSettings((), stage),
        initial=initial or identity(),
        fixed_mask=masks[0],
        moving_mask=masks[1],
        channels=channels,
    )


@pytest.mark.parametrize(
    ("model", "regulariser"),
    [*((model, "diffusion") for model in MODELS), *(("velocity", r) for r in REGULARISERS[1:])],
)
def test_a_known_warp_is_recovered_without_folds_by_energies_that_fall(model: str, regulariser: str) -> None:
    moving, truth = picture(SOLID), known_warp(SOLID, 3.0)
    fixed = resample(moving, SOLID, truth)
    weight = {"bending": 0.2, "total_variation": 0.01}.get(regulariser, 0.05)
    result = run(fixed, moving, model=model, regulariser=regulariser, regularisation_weight=weight)
    before, after = errors(result, truth)
    assert after < 0.25 * before
    assert result.quality["folded_voxels"] == 0
    assert result.quality["inverse_consistency_mean_vox"] < 0.05
    assert (result.velocity is None) == (model == "displacement")
    rows = result.iterations
    assert {row.level for row in rows} == {0, 1}
    for row in rows:
        assert row.energy == pytest.approx(row.data_term + row.regularisation_weight * row.regulariser_term)
    for one, other in pairwise(rows):
        assert other.energy < one.energy or other.level > one.level
    assert rows[-1].regularisation_weight * rows[-1].regulariser_term > 0


@each_model
@pytest.mark.parametrize("metric", METRICS)
def test_every_measure_recovers_a_warp_in_the_plane(model: str, metric: str) -> None:
    moving, truth = picture(FLAT), known_warp(FLAT, 3.0)
    fixed = resample(moving, FLAT, truth)
    result = run(fixed, moving, model=model, metric=metric)
    before, after = errors(result, truth)
    assert after < 0.35 * before
    assert result.displacement is not None
    assert result.inverse is not None
    assert not result.displacement.field[..., 2].any()
    assert not result.inverse.field[..., 2].any()


@each_model
def test_channels_add_up_each_by_its_own_measure(model: str) -> None:
    first, second = picture(FLAT, 0), picture(FLAT, 1)
    truth = known_warp(FLAT, 3.0)
    one, two = (resample(image, FLAT, truth) for image in (first, second))

    def data_term(metric: str, fixed: Image, moving: Image, *channels: Channel) -> float:
        options = {"model": model, "metric": metric, "shrink": (1.0,), "iterations": (1,)}
        return run(fixed, moving, channels=channels, **options).iterations[0].data_term

    both = data_term("ssd", one, first, Channel(two, second, 3.0, "sad"))
    apart = data_term("ssd", one, first) + 3 * data_term("sad", two, second)
    assert both == pytest.approx(apart, rel=0.02)


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
    """To a thousandth of a voxel; to a twentieth where an affine lies between other axes and voxels."""
    grid = SOLID
    fixed, start, other = picture(grid), Affine(np.eye(4)), grid
    if affinely:
        start = Affine.from_parameters((3, -2, 4), (0.1, -0.15, 0.2), (1.1, 0.9, 1.05), centre=grid.centre)
        other = Grid((40, 42, 44), TURNED)
        shift = start(grid.centre) - other.centre
        other = Grid(other.shape, Affine.from_parameters(shift).matrix @ other.affine)
    moving = resample(fixed, other, start.inverse())
    moving = resample(moving, other, known_warp(other, 4.0))

    def disagreement(model: str) -> float:
        options = {"model": model, "iterations": (12, 4), "tolerance": 0.0}
        there = run(fixed, moving, start, **options)
        back = run(moving, fixed, start.inverse(), **options)
        points = inner_points(grid)
        assert np.linalg.norm(there.forward(points) - start(points), axis=1).mean() > 0.5
        apart = np.linalg.norm(there.forward(points) - back.backward(points), axis=1)
        return float(apart.mean() / grid.spacing.min())

    symmetric, velocity = disagreement("symmetric"), disagreement("velocity")
    assert symmetric < (0.05 if affinely else 1e-3)
    assert symmetric < 0.2 * velocity


@each_model
def test_the_number_of_threads_does_not_change_a_bit(model: str) -> None:
    moving = picture(SOLID)
    fixed = resample(moving, SOLID, known_warp(SOLID, 3.0))
    mask = Image((fixed.data > 0.05).astype(np.uint8), SOLID)
    results = []
    for threads in (1, 2, 4):
        set_threads(threads)
        results.append(run(fixed, moving, masks=(mask, mask), model=model, iterations=(6, 3)))
    set_threads(0)
    for other in results[1:]:
        assert np.array_equal(results[0].displacement.field, other.displacement.field)
        assert np.array_equal(results[0].inverse.field, other.inverse.field)
        assert results[0].iterations == other.iterations


@each_model
def test_outside_the_masks_nothing_counts(model: str) -> None:
    clean = picture(SOLID)
    spoilt = clean.data.copy()
    spoilt[:12] += picture(SOLID, 5).data[:12]
    inside = np.ones(SOLID.shape, np.uint8)
    inside[:16] = 0
    mask, moving = Image(inside, SOLID), Image(spoilt, SOLID)
    options = {"model": model, "metric": "ssd", "shrink": (1,), "iterations": (10,)}
    kept = run(clean, moving, masks=(mask, mask), **options).displacement
    free = run(clean, moving, **options).displacement
    assert kept is not None
    assert free is not None
    assert np.abs(kept.field).max() < 0.1 < np.abs(free.field).max()


@each_model
def test_a_warm_start_keeps_what_it_is_given(model: str) -> None:
    moving = picture(SOLID)
    truth = compose_on_grid(known_warp(SOLID, 2.0), SOLID)
    fixed = resample(moving, SOLID, truth)
    points = inner_points(SOLID)
    result = run(fixed, moving, truth, model=model, shrink=(1.0,), iterations=(0,))
    assert np.linalg.norm(result.forward(points) - truth(points), axis=1).mean() < 0.03
    one = {"model": model, "metric": "ssd", "shrink": (1.0,), "iterations": (1,)}
    warm = run(fixed, moving, truth, **one).iterations[0]
    assert warm.data_term < 0.3 * run(fixed, moving, **one).iterations[0].data_term


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
        ({"regulariser": "bending"}, "regulariser: expected diffusion for the model greedy"),
        ({"lame_mu": 0}, "lame_mu"),
        ({"lame_mu": 3, "lame_lambda": -2}, "lame_lambda: expected more than -2, "),
    ],
)
def test_impossible_settings_name_their_key(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        RegistrationSettings.from_dict({"deformable": settings})
    assert "\n" not in str(caught.value)


def test_settings_survive_a_round_trip() -> None:
    chosen = {
        "model": "symmetric",
        "regulariser": "elastic",
        "lame_lambda": 0.5,
        "regularisation_weight": 0.2,
    }
    settings = RegistrationSettings.from_dict({"deformable": chosen})
    assert RegistrationSettings.from_dict(settings.to_dict()) == settings
