"""What must not change a registration: how voxels are stored, and in which unit the world is measured."""

from dataclasses import replace

import numpy as np
import pytest

from regcore.image import Image
from regcore.registration import DeformableSettings, LinearSettings, RegistrationSettings, register
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Chain
from tests.test_registration import OBLIQUE, smooth_warp, textured

LINEAR = (
    LinearSettings("rigid", shrink=(3.0, 1.5)),
    LinearSettings("affine", shrink=(2.0,), iterations=(30,)),
)
MODELS = {
    "linear": None,
    "greedy": DeformableSettings(spacing_mm=(2.0, 1.0), iterations=(20, 10)),
    "bending": DeformableSettings(
        model="displacement",
        regulariser="bending",
        regularisation_weight=2.0,
        spacing_mm=(2.0,),
        iterations=(15,),
    ),
}
CLOSE_MM = 0.05
"""Mean distance of two results where voxels measure 1 to 1.5 mm: the same but for rounding, which decides on
which side of a kink of the interpolation a voxel lies and when a level ends."""


class Case:
    """A pair of images, the truth, and what a registration of them found."""

    def __init__(self, deformable: DeformableSettings | None) -> None:
        grid = Grid((36, 33, 30), OBLIQUE)
        self.moving = Image(textured(grid.shape), grid)
        turned = Affine.from_parameters(
            translation=(3, -2, 1), rotation=(0.05, -0.08, 0.1), centre=grid.centre
        )
        truth = Chain((turned, smooth_warp(grid, 6.0)))
        self.fixed = resample(self.moving, grid, truth)
        self.points = grid.to_world(np.argwhere(self.fixed.data > 0.1)[::7])
        self.settings = RegistrationSettings(linear=LINEAR, deformable=deformable)
        result = register(self.fixed, self.moving, self.settings)
        self.there, self.back = result.forward(self.points), result.backward(self.points)
        before, after = (apart(truth(self.points), each) for each in (self.points, self.there))
        assert after < 0.1 * before


def apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second, axis=1).mean())


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(MODELS[request.param])


def stored(image: Image, axes: tuple[int, int, int], backwards: tuple[int, ...]) -> Image:
    """The same image of the same world, stored along other axes, some of them backwards."""
    data, to_old = np.flip(image.data.transpose(axes), backwards), np.eye(4)
    to_old[:3, :3] = np.eye(3)[:, axes]
    for axis in backwards:
        to_old[:, 3] += to_old[:, axis] * (data.shape[axis] - 1)
        to_old[:, axis] *= -1
    return Image(np.ascontiguousarray(data), Grid(data.shape, image.grid.affine @ to_old))


@pytest.mark.parametrize("which", ["fixed", "moving", "both"])
def test_how_voxels_are_stored_changes_nothing(case: Case, which: str) -> None:
    fixed = case.fixed if which == "moving" else stored(case.fixed, (2, 0, 1), (0, 2))
    moving = case.moving if which == "fixed" else stored(case.moving, (1, 0, 2), (1,))
    result = register(fixed, moving, case.settings)
    assert apart(result.forward(case.points), case.there) < CLOSE_MM
    assert apart(result.backward(case.points), case.back) < CLOSE_MM


@pytest.mark.parametrize("unit", [0.1, 10.0])
def test_the_unit_of_the_world_changes_nothing(case: Case, unit: float) -> None:
    larger = [
        Image(image.data, Grid(image.grid.shape, np.diag([unit, unit, unit, 1.0]) @ image.grid.affine))
        for image in (case.fixed, case.moving)
    ]
    deformable = case.settings.deformable
    if deformable is not None:
        weight = deformable.regularisation_weight
        deformable = replace(
            deformable,
            spacing_mm=tuple(unit * each for each in deformable.spacing_mm),
            regularisation_weight=None if weight is None else unit**2 * weight,
        )
    result = register(*larger, replace(case.settings, deformable=deformable))
    assert apart(result.forward(unit * case.points) / unit, case.there) < CLOSE_MM
    assert apart(result.backward(unit * case.points) / unit, case.back) < CLOSE_MM
