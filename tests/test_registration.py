"""Registration recovers what is known, refuses what cannot work, and is the same on any number of threads."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial.transform import Rotation

from benchmarks.made import small_pair
from regcore.errors import InputError
from regcore.groupwise import combine, drift, partial_sum, shape_update, update_transform
from regcore.groupwise.average import average
from regcore.groupwise.shape import mean_displacement
from regcore.image import Image
from regcore.io.nifti import read_image, read_labels
from regcore.kernels.jacobian import jacobian_determinant
from regcore.kernels.parallel import set_threads
from regcore.kernels.smooth import gaussian_smooth
from regcore.registration import DeformableSettings, LinearSettings, RegistrationSettings, preset, register
from regcore.registration.checks import _boxes_meet
from regcore.registration.folds import make_diffeomorphic
from regcore.registration.linear import LinearModel
from regcore.registration.similarity import Channel
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, identity


def textured(shape=(48, 44, 40), seed=0) -> np.ndarray:
    """A smooth random object on a dark background."""
    noise = gaussian_smooth(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), 2.0)
    centred = [np.linspace(-1.4, 1.4, n) if n > 1 else np.zeros(1) for n in shape]
    radius = sum(c**2 for c in np.meshgrid(*centred, indexing="ij"))
    return ((0.6 + noise / noise.std() * 0.15).clip(0.1, 1) * (radius < 1)).astype(np.float32)


def smooth_warp(grid: Grid, size_vox: float, seed: int = 1) -> Displacement:
    noise = np.random.default_rng(seed).standard_normal((*grid.shape, 3)).astype(np.float32)
    field = gaussian_smooth(noise, 6.0)
    field *= size_vox / np.sqrt((field**2).sum(axis=-1)).max()
    for axis, n in enumerate(grid.shape):
        if n == 1:
            field[..., axis] = 0
    return Displacement(field, grid)


OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [20, -15, 10], degrees=True).as_matrix() @ np.diag(
    [1.2, 1.5, 1.0]
)
OBLIQUE[:3, 3] = [12, -30, 7]


@pytest.mark.parametrize("name", ["default", "small-crop"])
def test_a_blob_that_fades_out_is_not_pulled_in(name, tmp_path):
    """Most of it is nearly flat: what a measure does there decides where its middle goes."""
    pair = small_pair(tmp_path)
    fixed, moving = read_image(pair.fixed.image), read_image(pair.moving.image)
    points = fixed.grid.to_world(np.argwhere(read_labels(pair.fixed.labels).data > 0))
    found = register(fixed, moving, preset(name)).forward(points)
    assert np.linalg.norm(found - (points - 1), axis=1).mean() < 0.15


@pytest.mark.parametrize(
    ("model", "metric", "step"),
    [(model, metric, 1) for model in ("rigid", "similarity", "affine") for metric in ("mi", "ncc", "ssd")]
    + [("affine", "mi", 2), ("rigid", "ncc", 3)],
)
def test_linear_registration_recovers_a_known_map(model, metric, step):
    grid = Grid((48, 44, 40), OBLIQUE)
    moving = Image(textured(), grid)
    truth = LinearModel(model, np.eye(4), grid.centre, 30.0)
    parameters = np.zeros(truth.size)
    parameters[:6] = [2, -3, 1.5, 3, -2, 4]
    if truth.size == 7:
        parameters[6] = 1.5
    if truth.size == 12:
        parameters[6:] = [2, -1.5, 1, 0.5, -1, 0.8]
    matrix = truth.matrix(parameters)
    fixed = resample(moving, grid, Affine(matrix), "cubic")
    settings = RegistrationSettings(
        linear=(LinearSettings(model=model, metric=metric, shrink=(3.0, 1.0), sampling_step=step),),
        deformable=None,
    )
    result = register(fixed, moving, settings)
    points = grid.to_world(np.argwhere(fixed.data > 0.1)[::50])
    error = np.linalg.norm(result.forward(points) - Affine(matrix)(points), axis=1)
    # SSD also sees the intensity scale, which cubic interpolation changes a little
    assert error.mean() < (0.25 if metric == "ssd" else 0.15)
    assert np.linalg.norm(result.backward(result.forward(points)) - points, axis=1).max() < 1e-6


def test_deformable_registration_recovers_a_known_warp():
    grid = Grid((48, 44, 40), OBLIQUE)
    moving = Image(textured(), grid)
    truth = smooth_warp(grid, 10.0)
    fixed = resample(moving, grid, truth, "cubic")
    settings = RegistrationSettings(
        linear=(), deformable=DeformableSettings(shrink=(2.0, 1.0), iterations=(60, 40))
    )
    result = register(fixed, moving, settings)
    points = grid.to_world(np.argwhere(fixed.data > 0.1)[::7])
    before = np.linalg.norm(truth(points) - points, axis=1).mean()
    after = np.linalg.norm(result.forward(points) - truth(points), axis=1).mean()
    assert after < 0.25 * before
    assert result.quality["folded_voxels"] == 0
    assert result.quality["inverse_consistency_mean_vox"] < 0.1
    assert result.quality["similarity_after"] > 0.98


def test_with_the_drift_taken_out_the_shape_update_vanishes():
    """Members of a template move alike towards its blurred average, until their common motion is known."""
    grid = Grid((48, 44, 40), np.eye(4))
    truth = Image(textured(), grid)
    members = [resample(truth, grid, smooth_warp(grid, 4.0, seed)) for seed in range(4)]
    settings = RegistrationSettings((), DeformableSettings(shrink=(1,), iterations=(10,), tolerance=0))

    def last_update(with_drift: bool) -> float:
        transforms, update, common = [identity()] * len(members), Chain(()), None
        template = average(combine([partial_sum([image], None, [identity()]) for image in members]))
        for _ in range(8):
            for k, image in enumerate(members):
                start = update_transform(transforms[k], update, grid)
                used = common if with_drift else None
                transforms[k] = register(template, image, settings, initial=start, drift=used).forward
            parts = [
                partial_sum([resample(image, grid, found)], None, [found])
                for image, found in zip(members, transforms, strict=True)
            ]
            partial = combine(parts)
            common, update = drift(partial, common), shape_update(partial)
            template = resample(average(partial), grid, update)
        return float(np.sqrt((mean_displacement(partial)[truth.data > 0] ** 2).sum(axis=-1).mean()))

    without, taken_out = last_update(False), last_update(True)
    assert taken_out < 0.5 * without, (taken_out, without)


def test_two_dimensional_images_stay_in_their_plane():
    grid = Grid((64, 60, 1), np.diag([0.5, 0.5, 3.0, 1.0]))
    moving = Image(textured((64, 60, 1)), grid)
    truth = smooth_warp(grid, 12.0)
    fixed = resample(moving, grid, truth)
    result = register(fixed, moving, preset("default"))
    assert result.quality["similarity_after"] > result.quality["similarity_before"]
    points = grid.to_world(np.argwhere(fixed.data > 0.1)[::7])
    assert np.abs(result.forward(points)[:, 2] - points[:, 2]).max() < 1e-6
    assert result.displacement is not None
    assert not result.displacement.field[..., 2].any()


def test_the_number_of_threads_does_not_change_a_bit():
    grid = Grid((48, 44, 40), OBLIQUE)
    moving = Image(textured(), grid)
    fixed = resample(moving, grid, smooth_warp(grid, 3.0))
    results = []
    for threads in (1, 2, 4):
        set_threads(threads)
        results.append(register(fixed, moving, preset("default")))
    set_threads(0)
    for other in results[1:]:
        assert np.array_equal(results[0].affine.matrix, other.affine.matrix)
        assert np.array_equal(results[0].displacement.field, other.displacement.field)
        assert np.array_equal(results[0].inverse.field, other.inverse.field)


def test_a_warm_start_keeps_what_it_is_given():
    grid = Grid((48, 44, 40), np.eye(4))
    moving = Image(textured(), grid)
    truth = smooth_warp(grid, 3.0)
    fixed = resample(moving, grid, truth)
    nothing = DeformableSettings(shrink=(1.0,), iterations=(0,))
    result = register(fixed, moving, RegistrationSettings(linear=(), deformable=nothing), initial=truth)
    points = grid.to_world(np.argwhere(fixed.data > 0.1)[::7])
    assert np.linalg.norm(result.forward(points) - truth(points), axis=1).max() < 0.02


def test_outside_the_masks_nothing_counts():
    grid = Grid((48, 44, 40), np.eye(4))
    clean = textured()
    spoilt = clean.copy()
    spoilt[:16] = 2.0
    mask = np.ones(grid.shape, np.uint8)
    mask[:20] = 0
    fixed = Image(clean, grid)
    settings = RegistrationSettings(linear=(LinearSettings("rigid", "ncc"),), deformable=None)
    result = register(
        fixed,
        Image(spoilt, grid),
        settings,
        initial=Affine(np.eye(4)),
        fixed_mask=Image(mask, grid),
        moving_mask=Image(mask, grid),
    )
    assert np.abs(result.forward(grid.corners()) - grid.corners()).max() < 1.0


@pytest.mark.parametrize("stage", ["linear", "deformable"])
def test_what_lies_beyond_a_cut_image_is_background_or_ignored(stage):
    grid = Grid((48, 44, 40), OBLIQUE)
    whole = textured()
    planes = 26
    cut = Image(whole[:planes].copy(), grid.crop((0, 0, 0), (planes, 44, 40)))
    turned = Affine.from_parameters(translation=(3, -2, 1), rotation=(0.05, -0.08, 0.1), centre=grid.centre)
    truth = turned if stage == "linear" else smooth_warp(grid, 4.0)
    fixed = resample(Image(whole, grid), grid, truth, "cubic")
    linear = (LinearSettings("rigid", "ncc", initialisation="identity"),)
    smooth = DeformableSettings(metric="mi", model="displacement", shrink=(2.0, 1.0), iterations=(40, 10))
    settings = RegistrationSettings(linear, None) if stage == "linear" else RegistrationSettings((), smooth)
    points = grid.to_world(np.argwhere(fixed.data > 0.1))
    place = cut.grid.to_voxel(truth(points))[:, 0]
    # up to five voxels from the cut, on the side that is seen, and on the other
    sides = (
        points[(place > planes - 6) & (place < planes - 1)],
        points[(place > planes) & (place < planes + 5)],
    )
    errors = {}
    for outside in ("background", "ignored"):
        found = register(fixed, cut, replace(settings, outside=outside)).forward
        errors[outside] = [np.linalg.norm(found(side) - truth(side), axis=1).mean() for side in sides]
    for background, ignored in zip(*errors.values(), strict=True):
        assert ignored < 0.4
        assert ignored < 0.6 * background, errors


def test_folds_are_removed_and_only_near_them():
    grid = Grid((40, 40, 40), np.eye(4))
    field = smooth_warp(grid, 2.0).field.copy()
    field[18:22, 18:22, 18:22, 0] = [[[3.0]], [[-3.0]], [[3.0]], [[-3.0]]]
    mended, determinant = make_diffeomorphic(field)
    assert jacobian_determinant(field).min() < 0 < determinant.min()
    assert np.array_equal(determinant, jacobian_determinant(mended))
    assert np.array_equal(field[:5, :5, :5], mended[:5, :5, :5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: np.full_like(data, 3.0), "constant"),
        (lambda data: np.where(data > 0.5, np.nan, data), "NaN"),
        (lambda data: np.where(data > 0.5, np.inf, data), "infinity"),
    ],
)
def test_images_that_cannot_be_registered_are_refused(change, words):
    grid = Grid((48, 44, 40), np.eye(4))
    with pytest.raises(InputError, match=words):
        register(Image(textured(), grid), Image(change(textured()), grid), preset("affine"))


def test_masks_that_cannot_be_used_are_refused():
    grid = Grid((48, 44, 40), np.eye(4))
    image = Image(textured(), grid)
    empty = Image(np.zeros(grid.shape, np.uint8), grid)
    elsewhere = Image(np.ones(grid.shape, np.uint8), Grid(grid.shape, OBLIQUE))
    with pytest.raises(InputError, match="empty mask"):
        register(image, image, preset("affine"), fixed_mask=empty)
    with pytest.raises(InputError, match="another grid"):
        register(image, image, preset("affine"), moving_mask=elsewhere)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"linear": [{"modle": "rigid"}]}, "linear.modle"),
        ({"linear": [{"model": "cubic"}]}, "linear.model"),
        ({"deformable": {"iterations": [3]}}, "as many levels as shrink"),
        ({"deformable": {"step_vox": 3}}, "step_vox"),
        (
            {"linear": [{"metric": "mind", "sampling_step": 2}]},
            "sampling_step: expected a whole number from 1 to 1",
        ),
        ({"deformed": {}}, "deformed"),
    ],
)
def test_impossible_settings_name_their_key(settings, words):
    with pytest.raises(InputError, match=words):
        RegistrationSettings.from_dict(settings)


def test_sampling_is_refused_beside_a_channel_that_looks_at_neighbours():
    image = Image(textured((24, 24, 24)), Grid((24, 24, 24), np.eye(4)))
    stage = LinearSettings(metric="mi", sampling_step=2)
    with pytest.raises(InputError, match="sampling_step: expected 1 beside a channel with mind"):
        register(
            image,
            image,
            RegistrationSettings(linear=(stage,), deformable=None),
            channels=[Channel(image, image, metric="mind")],
        )


def test_boxes_meet_where_a_linear_program_finds_a_common_point():
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(60):
        first, second = (tuple(rng.integers(1, 30, 3).tolist()) for _ in range(2))
        onto = np.eye(4)
        onto[:3] = np.column_stack([rng.normal(size=(3, 3)), 15 * rng.normal(size=3)])
        limits = np.concatenate([np.array(second) - 0.5 - onto[:3, 3], 0.5 + onto[:3, 3]])
        box = [(-0.5, n - 0.5) for n in first]
        found = linprog(np.zeros(3), A_ub=np.vstack([onto[:3, :3], -onto[:3, :3]]), b_ub=limits, bounds=box)
        answers.append(found.status != 2)
        assert _boxes_meet(first, second, onto) == answers[-1]
    assert 10 < sum(answers) < 50


@pytest.mark.parametrize("key", ["shrink", "spacing_mm"])
def test_levels_in_millimetres_are_those_in_voxels_of_the_image(key):
    grid = Grid((24, 26, 22), np.diag([2.0, 2.0, 2.0, 1.0]))
    moving = Image(textured(grid.shape), grid)
    fixed = resample(moving, grid, smooth_warp(grid, 3.0))
    levels = {"shrink": (2.0, 1.0), "spacing_mm": (4.0, 2.0, 1.0)}[key]
    counts = (6, 4, 9)[: len(levels)]
    stage = DeformableSettings(iterations=counts, **{key: levels})
    result = register(fixed, moving, RegistrationSettings((), stage))
    # the level of 1 mm does not exist in an image of 2 mm
    assert [row.level for row in result.iterations] == [0] * 6 + [1] * 4
    reference = register(
        fixed, moving, RegistrationSettings((), DeformableSettings(shrink=(2.0, 1.0), iterations=(6, 4)))
    )
    np.testing.assert_array_equal(result.displacement.field, reference.displacement.field)


def test_settings_survive_a_round_trip():
    settings = preset("default")
    assert RegistrationSettings.from_dict(settings.to_dict()) == settings
