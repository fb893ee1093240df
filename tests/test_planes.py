"""Planes that are shown: the same picture of any orientation, sides by convention, framed by the object."""

import numpy as np
import pytest

from regcore.image import Image
from regcore.qc.figures import template_figure
from regcore.qc.planes import canonical, foreground_box, planes
from regcore.space import Grid
from tests.reports import ball, picture_of


@pytest.mark.parametrize("codes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_any_orientation_gives_the_same_picture(codes, flips):
    image = Image(
        np.random.default_rng(0).random((5, 6, 7), np.float32), Grid((5, 6, 7), np.diag([2, 3, 4, 1.0]))
    )
    # the same voxels at the same places, stored in another order
    turned = image.data.transpose(codes)[tuple(slice(None, None, f) for f in flips)]
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for axis, (code, flip) in enumerate(zip(codes, flips, strict=True)):
        to_old[code, axis] = flip
        to_old[code, 3] = 0 if flip > 0 else image.data.shape[code] - 1
    other = Image(turned, Grid(turned.shape, image.grid.affine @ to_old))
    np.testing.assert_array_equal(canonical(other).data, image.data)
    np.testing.assert_allclose(canonical(other).affine, image.grid.affine)
    assert canonical(other).spacing == (2.0, 3.0, 4.0)


def test_oblique_axes_go_to_the_nearest_anatomical_axis():
    angle = np.deg2rad(20)
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    affine[:3, :3] = [
        [np.cos(angle), -np.sin(angle), 0],
        [np.sin(angle), np.cos(angle), 0],
        [0, 0, 1],
    ] @ affine[:3, :3]
    turned = canonical(Image(np.zeros((4, 5, 6), np.float32), Grid((4, 5, 6), affine)))
    assert turned.spacing == pytest.approx((1.0, 2.0, 3.0))
    assert turned.affine[0, 0] > 0


def test_sides_follow_the_convention():
    image = ball()
    data = image.data.copy()
    data[-3:] = 9  # the subject's right
    marked = Image(data, image.grid)
    left = planes(marked, convention="neurological")[0]
    right = planes(marked, convention="radiological")[0]
    assert left.sides == ("L", "R")
    assert right.sides == ("R", "L")
    assert left.values[10, -1] == 9
    assert right.values[10, 0] == 9
    # sagittal pictures do not depend on it
    assert planes(marked, convention="radiological")[2].sides == ("P", "A")


def test_a_2d_image_gives_one_plane():
    image = Image(np.ones((30, 20, 1), np.float32), Grid((30, 20, 1), np.eye(4)))
    shown = planes(image, foreground_box(image))
    assert [plane.name for plane in shown] == ["axial"]
    assert shown[0].values.shape == (20, 30)
    assert picture_of(template_figure(image)).width == 1040


def test_the_frame_ignores_a_stray_voxel():
    image = ball(shape=(64, 64, 64))
    data = image.data.copy()
    data[0, 0, 0] = 5
    box = foreground_box(Image(data, image.grid))
    assert box[0][0] > 15
