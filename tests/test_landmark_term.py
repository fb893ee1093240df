"""Landmarks in the energy of a registration."""

from __future__ import annotations

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.features import registration_errors
from regcore.image import Image
from regcore.kernels.layout import from_components
from regcore.landmarks import Landmarks
from regcore.registration import DeformableSettings, LinearSettings, RegistrationSettings, register
from regcore.registration.landmark_term import LandmarkTerm
from regcore.space import Grid
from regcore.transforms import Affine

GRID = Grid((28, 26, 24), np.array([[1.2, 0, 0, -5], [0, 0, 1.0, 3], [0, -1.5, 0, 20], [0, 0, 0, 1.0]]))
CENTRE = GRID.to_world(np.array([13.5, 12.5, 11.5]))


def ball() -> Image:
    """A ball without features: turning it changes nothing."""
    distance = np.linalg.norm(GRID.world_points() - CENTRE, axis=-1)
    return Image((1 / (1 + np.exp((distance - 9) / 0.8))).astype(np.float32), GRID)


def points(count: int = 6, seed: int = 0) -> np.ndarray:
    directions = np.random.default_rng(seed).standard_normal((count, 3))
    return CENTRE + 6 * directions / np.linalg.norm(directions, axis=1)[:, None]


def test_the_derivative_by_a_matrix_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(1)
    term = LandmarkTerm(Landmarks(points()), Landmarks(points(seed=1)), 0.03)
    matrix = np.eye(4) + np.vstack([0.1 * rng.standard_normal((3, 4)), np.zeros(4)])
    _, derivative = term.of_matrix(matrix)
    for i, j in np.ndindex(3, 4):
        step = np.zeros((4, 4))
        step[i, j] = 1e-5
        change = (term.of_matrix(matrix + step)[0] - term.of_matrix(matrix - step)[0]) / 2e-5
        assert derivative[i, j] == pytest.approx(change, rel=1e-6, abs=1e-9)


def test_the_derivative_by_a_field_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(2)
    # one beyond the last voxel centre, where the field is that of the edge
    edge = GRID.to_world(np.array([[27.4, 3.2, -0.3]]))
    term = LandmarkTerm(Landmarks(np.vstack([points(), edge])), Landmarks(points(7, seed=1)), 0.03)
    matrix = np.eye(4) + np.vstack([0.1 * rng.standard_normal((3, 4)), np.zeros(4)])
    field = rng.standard_normal((*GRID.shape, 3)).astype(np.float32)
    gradient, unused = np.zeros_like(field), np.zeros_like(field)
    term.of_field(field, GRID, matrix, gradient)
    direction = rng.standard_normal(field.shape)
    # the term is quadratic: central differences are exact whatever the step
    ahead, behind = ((field + sign * direction).astype(np.float32) for sign in (1, -1))
    change = (term.of_field(ahead, GRID, matrix, unused) - term.of_field(behind, GRID, matrix, unused)) / 2
    assert (gradient * direction).sum() == pytest.approx(change, rel=1e-4)


def test_a_ball_turns_only_as_its_landmarks_say() -> None:
    turn = Affine.from_parameters((0, 0, 0), (0.15, -0.1, 0.3), centre=CENTRE)
    fixed, moving = Landmarks(points()), Landmarks(turn(points()))
    settings = RegistrationSettings((LinearSettings("rigid", shrink=(2, 1), iterations=(30, 30)),), None)
    alone = register(ball(), ball(), settings)
    guided = register(ball(), ball(), settings, landmarks=LandmarkTerm(fixed, moving, 0.1))
    assert registration_errors(fixed, moving, alone.forward).mean() > 1.0
    assert registration_errors(fixed, moving, guided.forward).max() < 0.1


@pytest.mark.parametrize("model", ["greedy", "displacement", "velocity", "symmetric"])
def test_landmarks_guide_a_deformation_beside_the_images(model: str) -> None:
    fixed = Landmarks(points(4))
    moving = Landmarks(fixed.points + np.array([[1.5, 0, 0], [0, -1.2, 0], [0, 0, 1.4], [1, 1, 0]]))
    deformable = DeformableSettings(
        "ssd", model=model, shrink=(2, 1), iterations=(60, 60), update_sigma_vox=2.0, tolerance=0
    )
    settings = RegistrationSettings((), deformable)
    alone = register(ball(), ball(), settings)
    guided = register(ball(), ball(), settings, landmarks=LandmarkTerm(fixed, moving, 0.05))
    before = registration_errors(fixed, moving, alone.forward).mean()
    after = registration_errors(fixed, moving, guided.forward).mean()
    assert after < 0.5 * before
    assert guided.quality["folded_voxels"] == 0


def test_what_cannot_guide_is_refused() -> None:
    inside, outside = Landmarks(points(2), ("left", "right")), Landmarks(points(2) + 100, ("left", "right"))
    with pytest.raises(InputError, match="expected as many moving as fixed ones, found 3 and 2"):
        LandmarkTerm(inside, Landmarks(points(3)), 0.1)
    with pytest.raises(InputError, match="expected a weight above 0, found -1"):
        LandmarkTerm(inside, inside, -1)
    with pytest.raises(InputError, match="landmark left: expected a point inside the moving image"):
        register(ball(), ball(), RegistrationSettings(), landmarks=LandmarkTerm(inside, outside, 0.1))


def test_a_field_in_any_layout_is_read_alike() -> None:
    term = LandmarkTerm(Landmarks(points()), Landmarks(points(seed=1)), 0.03)
    field = np.random.default_rng(3).standard_normal((*GRID.shape, 3)).astype(np.float32)
    other = from_components(np.ascontiguousarray(np.moveaxis(field, -1, 0)))
    values = [term.of_field(each, GRID, np.eye(4), np.zeros_like(field)) for each in (field, other)]
    assert values[0] == values[1]
