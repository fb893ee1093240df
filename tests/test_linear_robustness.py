"""Linear registration from any rotation, with answers no anatomy could give tried again, across scanners."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_registration import OBLIQUE, smooth_warp, textured

from regcore.image import Image
from regcore.io.nifti import read_image
from regcore.preprocess import foreground_mask
from regcore.registration import DeformableSettings, LinearSettings, RegistrationSettings, register, stages
from regcore.registration.histograms import match_histograms
from regcore.registration.rotations import SPREAD_ROTATIONS, spread_rotations
from regcore.registration.stages import implausible, register_stages
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine

FULL = RegistrationSettings(
    (LinearSettings("rigid", "mi", shrink=(3.0, 1.5), rotation_search="full"),), deformable=None
)


def angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Degrees between rotations, shape (..., 3, 3)."""
    cosine = (np.einsum("...ij,...ij->...", first, second) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def turned(image: Image, turn: np.ndarray) -> tuple[Image, Affine]:
    """An image as it lies after a turn about its middle, voxels unchanged, and the map to it."""
    truth = Affine.from_parameters(
        rotation=Rotation.from_matrix(turn).as_rotvec(), centre=image.grid.centre, translation=(9, -7, 5)
    )
    return Image(image.data, Grid(image.grid.shape, truth.matrix @ image.grid.affine)), truth


def mean_error(result, truth, fixed: Image) -> float:
    inside = fixed.data > np.percentile(fixed.data, 70)
    points = fixed.grid.to_world(np.argwhere(inside)[::97])
    return float(np.linalg.norm(result.forward(points) - truth(points), axis=1).mean())


def test_no_rotation_is_far_from_all_that_are_tried():
    tried = spread_rotations(SPREAD_ROTATIONS)
    for rotation in Rotation.random(200, random_state=0).as_matrix():
        assert angle(tried, rotation).min() < 32


@pytest.mark.parametrize("seed", range(4))
def test_an_object_is_found_whatever_its_rotation(seed):
    fixed = Image(textured(), Grid((48, 44, 40), OBLIQUE))
    moving, truth = turned(fixed, Rotation.random(random_state=seed).as_matrix())
    assert mean_error(register(fixed, moving, FULL), truth, fixed) < 0.5


@pytest.mark.parametrize("degrees", [40, 100, 180])
def test_a_slice_is_found_whatever_its_rotation(degrees):
    fixed = Image(textured((64, 60, 1)), Grid((64, 60, 1), np.diag([0.5, 0.5, 3.0, 1.0])))
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    truth = Affine.from_parameters(
        rotation=Rotation.from_matrix(turn).as_rotvec(), centre=fixed.grid.centre, translation=(2, -1, 0)
    )
    moving = Image(fixed.data, Grid(fixed.grid.shape, truth.matrix @ fixed.grid.affine))
    assert mean_error(register(fixed, moving, FULL), truth, fixed) < 0.2


@pytest.fixture(scope="module")
def heads(brains) -> tuple[Image, Image]:
    """Two real heads at 4 mm."""
    found = []
    for name in ("IXI033", "IXI260"):
        image = read_image(brains / f"sub-{name}/anat/sub-{name}_T1w.nii.gz")
        found.append(resample(image, image.grid.shrink((2, 2, 2))))
    return found[0], found[1]


@pytest.mark.parametrize("seed", range(6))
def test_a_real_head_is_found_whatever_its_rotation(heads, seed):
    fixed = heads[0]
    moving, truth = turned(fixed, Rotation.random(random_state=10 + seed).as_matrix())
    assert mean_error(register(fixed, moving, FULL), truth, fixed) < 0.5


@pytest.mark.parametrize("seed", range(6))
def test_another_real_head_is_found_whatever_its_rotation(heads, seed):
    """A turn must not change where a head comes to lie on another."""
    fixed, moving = heads
    local = replace(FULL.linear[0], rotation_search="local")
    upright = register(fixed, moving, RegistrationSettings((local,), None))
    lying, turn = turned(moving, Rotation.random(random_state=20 + seed).as_matrix())
    found = register(fixed, lying, FULL)
    assert mean_error(found, lambda points: turn(upright.forward(points)), fixed) < 4.0  # one voxel


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (np.eye(3), ""),
        (np.diag([1.6, 0.7, 1.0]), ""),
        (np.diag([1.0, 2.0, 1.0]), "scale 2.00 beyond 1.7"),
        (np.diag([0.5, 1.0, 1.0]), "scale 0.50 beyond 1/1.7"),
        (np.array([[1.0, 0.6, 0], [0, 1, 0], [0, 0, 1]]), "shear 0.60 beyond 0.5"),
    ],
)
def test_what_is_implausible(change, words):
    matrix = np.eye(4)
    # a turn is never implausible
    matrix[:3, :3] = Rotation.from_euler("xyz", [70, -120, 30], degrees=True).as_matrix() @ change
    assert implausible(matrix, LinearSettings()) == words


def test_an_implausible_answer_is_tried_again_and_said():
    """A ball of twice the size wants a scale that the limit forbids; the rigid answer is left."""
    grid = Grid((40, 40, 40), np.eye(4))
    points = grid.world_points() - grid.centre

    def ball(radius):
        distance = np.linalg.norm(points, axis=-1)
        return Image((1 / (1 + np.exp(2 * (distance - radius)))).astype(np.float32), grid)

    stage = LinearSettings("affine", "ssd", shrink=(2.0, 1.0))
    result = register(ball(7), ball(15), RegistrationSettings((stage,), None))
    assert result.quality["linear_retries"] == 1
    reason = result.quality["linear_retry_reasons"][0]
    assert reason.startswith("affine: scale 2.")
    assert reason.endswith("took rigid")
    np.testing.assert_allclose(np.linalg.svd(result.affine.matrix[:3, :3])[1], 1, atol=1e-6)
    allowed = LinearSettings("affine", "ssd", shrink=(2.0, 1.0), scale_limit=3.0)
    again = register(ball(7), ball(15), RegistrationSettings((allowed,), None))
    assert again.quality["linear_retries"] == 0
    assert np.linalg.det(again.affine.matrix[:3, :3]) ** (1 / 3) == pytest.approx(15 / 7, rel=0.05)


def test_of_the_plausible_answers_the_best_is_taken(monkeypatch):
    """The first answer collapses; the start by moments leads somewhere, the others nowhere better."""
    image = Image(textured(), Grid((48, 44, 40), np.eye(4)))
    collapsed, good = Affine(np.diag([0.1, 0.1, 0.1, 1.0])), Affine(np.eye(4))
    energies = {("affine", 0): (0.0, collapsed)}
    calls = []

    def answers(fixed, moving, stage, begin, *_):
        calls.append(stage.model)
        energy, found = energies.get((stage.model, len(calls) - 1), (1.0 / len(calls), good))
        return found, [stages.IterationRow(stage.model, 0, 1, energy)]

    monkeypatch.setattr(stages, "register_linear", answers)
    found = register_stages(image, image, (LinearSettings(),), good)
    # moments and identity, then similarity and rigid
    assert calls == ["affine"] * 3 + ["similarity", "rigid"]
    assert found.retries == ["affine: scale 0.10 beyond 1/1.7; took rigid"]
    calls.clear()
    register_stages(image, image, (LinearSettings(),), good, given=True)
    assert calls == ["affine", "similarity", "rigid"]


def test_matched_histograms_undo_another_scanner():
    grid = Grid((48, 44, 40), OBLIQUE)
    fixed = Image(textured(), grid)
    other = Image((900 * (fixed.data**0.5) * (fixed.data > 0)).astype(np.float32), grid)
    matched = match_histograms(other, fixed)
    inside = foreground_mask(fixed).data > 0
    assert np.abs(matched.data - fixed.data)[inside].mean() < 0.01
    assert not matched.data[fixed.data == 0].any()
    assert (np.diff(matched.data.ravel()[np.argsort(other.data.ravel(), kind="stable")]) >= 0).all()


def test_with_matched_histograms_squared_differences_see_through_another_scanner():
    grid = Grid((48, 44, 40), np.eye(4))
    moving, truth = Image(textured(), grid), smooth_warp(grid, 6.0)
    fixed = resample(moving, grid, truth)
    other = Image((moving.data**0.3 * (moving.data > 0)).astype(np.float32), grid)
    stage = DeformableSettings("ssd", shrink=(2.0, 1.0), iterations=(60, 40))
    errors = [
        mean_error(register(fixed, other, RegistrationSettings((), stage, match)), truth, fixed)
        for match in (False, True)
    ]
    assert errors[1] < 0.6 * errors[0]
