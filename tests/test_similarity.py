"""Every similarity measure works in both solvers, across modalities where it should, and with channels."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from test_registration import OBLIQUE, smooth_warp, textured

from regcore.errors import InputError
from regcore.image import Image
from regcore.registration import (
    Channel,
    DeformableSettings,
    LinearSettings,
    RegistrationSettings,
    register,
)
from regcore.registration.linear import LinearModel, _energy
from regcore.registration.settings import METRICS
from regcore.registration.similarity import at_levels, with_measures
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, identity

SOLID = Grid((48, 44, 40), OBLIQUE)
FLAT = Grid((64, 60, 1), np.diag([0.5, 0.5, 3.0, 1.0]))
MULTIMODAL = ("mi", "nmi", "ecc", "mind")
each_metric = pytest.mark.parametrize("metric", METRICS)
each_grid = pytest.mark.parametrize("grid", [SOLID, FLAT], ids=["3D", "2D"])


def contrasted(grid, seed=0):
    """A textured object that reaches its highest intensity, so that warped copies have the same scale."""
    data = textured(grid.shape, seed)
    return Image(((2 * data - 0.5).clip(0.1, 1) * (data > 0)).astype(np.float32), grid)


def rigid_motion(grid):
    along, across = ([2, -3, 1.5], [3, -2, 4]) if not grid.is_2d else ([1, -1.5, 0], [0, 0, 2])
    model = LinearModel("rigid", np.eye(4), grid.centre, 30.0 if not grid.is_2d else 12.0)
    return Affine(model.matrix(np.array([*along, *across])))


def errors(result, truth, fixed):
    """Mean distance from the truth inside the object, before and after."""
    points = fixed.grid.to_world(np.argwhere(fixed.data > 0.05)[::7])
    there = truth(points)
    before = np.linalg.norm(points - there, axis=1).mean()
    return float(before), float(np.linalg.norm(result.forward(points) - there, axis=1).mean())


def other_contrast(image, how):
    """The object as another modality shows it: inverted and bent, or folded, so that it cannot be undone."""
    inside = image.data > 0.05
    bent = 0.1 + (1.1 - image.data) ** 2 if how == "inverted" else 0.1 + np.abs(image.data - 0.6)
    return Image((bent * inside).astype(np.float32), image.grid)


@each_metric
@each_grid
def test_the_linear_gradient_is_the_derivative_of_the_energy(metric, grid):
    moving = contrasted(grid)
    fixed = resample(moving, grid, rigid_motion(grid))
    channels = with_measures(
        at_levels([Channel(fixed, moving)], [(2.0, 2.0)])[0], LinearSettings(metric=metric)
    )
    shape = channels[0][0].fixed.grid.shape
    weights = np.zeros(shape, np.float32)
    # away from the edge, where an image jumps to zero half a voxel beyond its outermost voxels
    inner = tuple(slice(2, -2) if n > 1 else slice(None) for n in shape)
    weights[inner] = np.random.default_rng(0).random(weights[inner].shape)
    model = LinearModel("affine", np.eye(4), grid.centre, 30.0)
    here = np.full(12, 0.2)
    here[[2, 3, 4, 8, 10, 11]] = 0.2 * (not grid.is_2d)
    by_matrix = _energy(channels, model.matrix(here), weights)[1]
    gradient = np.einsum("nij,ij->n", model.matrix_and_jacobian(here)[1], by_matrix)
    step, largest = 1e-3, np.abs(gradient).max()
    # a 2D image has no derivative across its plane
    free = [0, 1, 5, 6, 7, 9] if grid.is_2d else range(12)
    for k in free:
        change = np.zeros(12)
        change[k] = step
        up = _energy(channels, model.matrix(here + change), weights)[0]
        down = _energy(channels, model.matrix(here - change), weights)[0]
        assert gradient[k] == pytest.approx((up - down) / (2 * step), rel=1e-2, abs=2e-3 * largest)


@each_metric
@each_grid
def test_every_measure_recovers_a_rigid_motion(metric, grid):
    moving, truth = contrasted(grid), rigid_motion(grid)
    fixed = resample(moving, grid, truth)
    stage = LinearSettings("rigid", metric, shrink=(3.0, 1.0))
    before, after = errors(register(fixed, moving, RegistrationSettings((stage,), None)), truth, fixed)
    assert after < 0.03 * before


@each_metric
@each_grid
def test_every_measure_recovers_a_warp(metric, grid):
    moving, truth = contrasted(grid), smooth_warp(grid, 10.0)
    fixed = resample(moving, grid, truth)
    stage = DeformableSettings(metric, shrink=(2.0, 1.0), iterations=(60, 40))
    result = register(fixed, moving, RegistrationSettings((), stage))
    before, after = errors(result, truth, fixed)
    assert after < 0.33 * before
    assert result.quality["folded_voxels"] == 0


@pytest.mark.parametrize("metric", MULTIMODAL)
@pytest.mark.parametrize("how", ["inverted", "folded"])
@each_grid
def test_across_modalities_a_rigid_motion_is_recovered(metric, how, grid):
    moving, truth = contrasted(grid), rigid_motion(grid)
    fixed = other_contrast(resample(moving, grid, truth, "cubic"), how)
    stage = LinearSettings("rigid", metric, shrink=(3.0, 1.0))
    before, after = errors(register(fixed, moving, RegistrationSettings((stage,), None)), truth, fixed)
    assert after < 0.05 * before


@pytest.mark.parametrize("metric", MULTIMODAL)
def test_across_modalities_a_warp_is_recovered(metric):
    moving, truth = contrasted(SOLID), smooth_warp(SOLID, 10.0)
    fixed = other_contrast(resample(moving, SOLID, truth), "folded")
    # the inside only: the edge of an object against black changes its height with the modality
    mask = Image(binary_erosion(fixed.data > 0.05, iterations=4).astype(np.uint8), SOLID)
    stage = DeformableSettings(metric, shrink=(2.0, 1.0), iterations=(60, 40))
    result = register(fixed, moving, RegistrationSettings((), stage), fixed_mask=mask)
    before, after = errors(result, truth, mask)
    assert after < 0.4 * before


@each_metric
@pytest.mark.parametrize("solver", ["linear", "deformable"])
def test_outside_either_mask_nothing_counts(metric, solver):
    moving = contrasted(SOLID)
    if solver == "linear":
        truth = rigid_motion(SOLID)
        stage = LinearSettings("rigid", metric, shrink=(2.0, 1.0), rotations_deg=0)
        settings = RegistrationSettings((stage,), None)
    else:
        truth = smooth_warp(SOLID, 10.0)
        settings = RegistrationSettings(
            (), DeformableSettings(metric, shrink=(2.0, 1.0), iterations=(60, 40))
        )
    fixed = resample(moving, SOLID, truth)
    # what is spoilt comes no nearer to the mask than windows, smoothing and the motion reach
    kept = np.zeros(SOLID.shape, np.uint8)
    kept[18:] = 1
    mask = Image(kept, SOLID)
    spoilt = []
    for image, value in ((fixed, 1.0), (moving, 0.3)):
        data = image.data.copy()
        data[:6] = value
        spoilt.append(Image(data, SOLID))
    start = Affine(np.eye(4))
    result = register(*spoilt, settings, initial=start, fixed_mask=mask, moving_mask=mask)
    before, after = errors(result, truth, Image(fixed.data * kept, SOLID))
    assert after < (0.05 if solver == "linear" else 0.4) * before


def halves(grid, seed):
    """Images of one object that show it on one side of it each."""
    whole = contrasted(grid, seed)
    side = np.arange(grid.shape[0])[:, None, None] < grid.shape[0] // 2
    edge = whole.data > 0.05
    return [
        Image(np.where(shown, whole.data, 0.5 * edge).astype(np.float32), grid) for shown in (side, ~side)
    ]


@each_grid
@pytest.mark.parametrize("metric", ["ncc", "mind"])
def test_channels_see_together_what_each_sees_in_part(grid, metric):
    truth = smooth_warp(grid, 10.0)
    moving = halves(grid, 0)
    fixed = [resample(image, grid, truth) for image in moving]
    stage = DeformableSettings(metric, shrink=(2.0, 1.0), iterations=(60, 40))
    settings = RegistrationSettings((), stage)
    alone = errors(register(fixed[0], moving[0], settings), truth, fixed[0])[1]
    both = register(fixed[0], moving[0], settings, channels=[(fixed[1], moving[1], 1.0)])
    assert errors(both, truth, fixed[0])[1] < 0.7 * alone


def test_a_heavy_channel_on_a_grid_of_its_own_outweighs_the_first():
    truth, moving = rigid_motion(SOLID), contrasted(SOLID)
    still = contrasted(SOLID, 1)
    finer = resample(moving, SOLID.shrink((0.8, 0.8, 0.8)), identity())
    channel = Channel(resample(moving, SOLID, truth), finer, 100.0)
    settings = RegistrationSettings((LinearSettings("rigid", "ncc", shrink=(3.0, 1.0)),), None)
    before, alone = errors(register(still, still, settings), truth, still)
    assert alone == pytest.approx(before, abs=0.01)
    assert errors(register(still, still, settings, channels=[channel]), truth, still)[1] < 0.2


def test_the_energy_is_the_weighted_sum_over_the_channels():
    grid = FLAT
    first, second = contrasted(grid, 0), contrasted(grid, 1)
    truth = smooth_warp(grid, 3.0)
    stage = DeformableSettings("ssd", shrink=(1.0,), iterations=(1,))
    settings = RegistrationSettings((), stage)

    def energy(fixed, moving, *channels):
        return register(fixed, moving, settings, channels=channels).iterations[0].energy

    warped = [resample(image, grid, truth) for image in (first, second)]
    one, two = energy(warped[0], first), energy(warped[1], second)
    assert energy(warped[0], first, (warped[1], second, 3.0)) == pytest.approx(one + 3 * two, rel=1e-2)


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ((contrasted(FLAT), contrasted(FLAT), 1.0), "channel 1: expected a fixed image on the grid"),
        ((contrasted(SOLID), contrasted(FLAT), 1.0), "both 2D or both 3D"),
        ((contrasted(SOLID), contrasted(SOLID), 0.0), "channel 1: expected a weight above zero, found 0"),
    ],
)
def test_channels_that_cannot_be_used_are_refused(channel, words):
    image = contrasted(SOLID)
    with pytest.raises(InputError, match=words):
        register(image, image, RegistrationSettings(), channels=[channel])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"linear": [{"metric": "cc"}]}, "linear.metric: expected one of ssd, sad, ncc"),
        ({"deformable": {"bins": 4}}, "deformable.bins"),
        ({"deformable": {"epsilon": 0}}, "deformable.epsilon"),
        ({"linear": [{"dilation": 1.5}]}, "linear.dilation"),
        ({"linear": [{"patch_sigma_vox": -1}]}, "linear.patch_sigma_vox"),
    ],
)
def test_impossible_settings_of_a_measure_name_their_key(settings, words):
    with pytest.raises(InputError, match=words):
        RegistrationSettings.from_dict(settings)
