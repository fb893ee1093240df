from __future__ import annotations

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.groupwise import (
    PartialSum,
    average,
    average_grid,
    bias_certificate,
    combine,
    convergence_row,
    covered_share,
    deviation,
    foreground_box,
    has_converged,
    partial_sum,
    shape_update,
    sharpen,
    stack_average,
    update_transform,
)
from regcore.groupwise.convergence import sharpness
from regcore.image import Image
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, identity

GRID = Grid((24, 22, 20), np.array([[0, 0, -2.0, 20], [1.5, 0.2, 0, -10], [0, 2.0, 0.3, -20], [0, 0, 0, 1]]))


def image_of(value: float | np.ndarray, grid: Grid = GRID) -> Image:
    return Image(np.broadcast_to(np.float32(value), grid.shape).copy(), grid)


def bump(seed: int, size: float = 1.0, grid: Grid = GRID) -> Displacement:
    """A smooth field that vanishes at the edge, voxels."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(0, np.pi, n) for n in grid.shape), indexing="ij")
    window = np.prod(np.sin(axes), axis=0) ** 2
    phase = rng.uniform(0, 2 * np.pi, 3)
    waves = [np.sin(axes[(axis + 1) % 3] + phase[axis]) * rng.uniform(0.5, 1) for axis in range(3)]
    return Displacement((size * window[..., None] * np.stack(waves, axis=-1)).astype(np.float32), grid)


def ball(grid: Grid = GRID, radius_mm: float = 13.0) -> Image:
    inside = np.linalg.norm(grid.world_points() - grid.centre, axis=-1) < radius_mm
    return Image(inside.astype(np.uint8), grid)


def cohort(count: int = 5) -> list[Chain]:
    rng = np.random.default_rng(3)
    transforms = []
    for seed in range(count):
        affine = Affine.from_parameters(
            translation=rng.normal(0, 5, 3),
            rotation=rng.normal(0, 0.3, 3),
            zooms=np.exp(rng.normal(0.08, 0.05, 3)),
            shears=rng.normal(0.02, 0.03, 3),
            centre=GRID.centre,
        )
        transforms.append(Chain((affine, bump(seed, size=1.2))))
    return transforms


def test_average_divides_by_the_members_that_cover_a_voxel() -> None:
    half = np.ones(GRID.shape, np.float32)
    half[12:] = 0
    partial = partial_sum(
        [image_of(2), image_of(6)], [Image(half, GRID), None], [identity(), identity()], weights=[1, 3]
    )
    mean = average(partial).data
    np.testing.assert_allclose(mean[:12], 5.0, rtol=1e-6)
    np.testing.assert_allclose(mean[12:], 6.0, rtol=1e-6)
    np.testing.assert_allclose(covered_share(partial).data[12:], 0.75)
    np.testing.assert_allclose(deviation(partial).data[:12], np.sqrt(3.0), rtol=1e-5)
    assert (deviation(partial).data[12:] < 1e-2).all()


def test_average_is_zero_where_nobody_looked() -> None:
    nothing = partial_sum([image_of(4)], [image_of(0)], [identity()])
    assert (average(nothing).data == 0).all()
    assert np.isfinite(deviation(nothing).data).all()


def test_batches_add_up_to_the_cohort() -> None:
    rng = np.random.default_rng(0)
    images = [Image(rng.random(GRID.shape, np.float32), GRID) for _ in range(5)]
    transforms = cohort()
    whole = partial_sum(images, None, transforms)
    parts = combine(
        [partial_sum(images[:2], None, transforms[:2]), partial_sum(images[2:], None, transforms[2:])]
    )
    assert parts.count == 5
    np.testing.assert_allclose(average(parts).data, average(whole).data, atol=1e-6)
    assert whole.displacement is not None
    assert parts.displacement is not None
    np.testing.assert_allclose(parts.displacement, whole.displacement, atol=1e-5)
    np.testing.assert_allclose(parts.log_stretch, whole.log_stretch, atol=1e-12)


def test_partial_sum_survives_a_file() -> None:
    whole = partial_sum([image_of(1)] * 2, None, cohort(2))
    read = PartialSum.from_arrays(whole.to_arrays())
    assert read.grid.matches(whole.grid)
    assert np.array_equal(average(read).data, average(whole).data)
    assert read.displacement is not None
    linear = partial_sum([image_of(1)], None, [identity()])
    assert PartialSum.from_arrays(linear.to_arrays()).displacement is None


def test_partial_sum_refuses_mixed_grids() -> None:
    other = Grid(GRID.shape, np.eye(4))
    with pytest.raises(InputError, match="grid"):
        partial_sum([image_of(1), image_of(1, other)], None, [identity(), identity()])
    with pytest.raises(InputError, match="at least one"):
        combine([])


def test_one_shape_update_takes_out_mean_displacement_and_mean_stretch() -> None:
    transforms = cohort()
    images = [image_of(1)] * len(transforms)
    before = partial_sum(images, None, transforms)
    mask = ball()
    start = bias_certificate(before, mask)
    assert start["mean_displacement_rms_mm"] > 0.2
    assert start["mean_log_affine_rms_mm"] > 0.5
    assert not start["unbiased"]
    update = shape_update(before)
    moved = [update_transform(transform, update, GRID) for transform in transforms]
    end = bias_certificate(partial_sum(images, None, moved), mask)
    # what is left: interpolation, and affines that do not commute
    assert end["mean_displacement_rms_mm"] < 0.03
    assert end["mean_log_affine_rms_mm"] < 0.03
    assert end["unbiased"]
    assert end["verdict"].startswith("unbiased")


def test_updated_transforms_still_reach_the_same_place() -> None:
    transforms = cohort(3)
    update = shape_update(partial_sum([image_of(1)] * 3, None, transforms))
    assert len(update.transforms) == 2
    points = GRID.to_world([[12, 11, 10], [9, 12, 8], [14, 9, 11]])
    for transform in transforms:
        moved = update_transform(transform, update, GRID)
        np.testing.assert_allclose(moved(points), transform(update(points)), atol=1e-3)


def test_pose_of_the_members_neither_moves_nor_turns_the_template() -> None:
    turned = [
        Affine.from_parameters(translation=(30, -4, 2), rotation=(0, 0, angle), centre=GRID.centre)
        for angle in (0.5, 2.5, 3.1)
    ]
    update = shape_update(partial_sum([image_of(1)] * 3, None, turned))
    np.testing.assert_allclose(update(GRID.corners()), GRID.corners(), atol=1e-9)


def test_a_partial_step_takes_out_its_share() -> None:
    double = Affine(np.diag([4.0, 1.0, 1.0, 1.0]))
    partial = partial_sum([image_of(1)], None, [double])
    update = shape_update(partial, step=0.5)
    outer = update.transforms[0]
    assert isinstance(outer, Affine)
    assert outer.matrix[0, 0] == pytest.approx(0.5)
    with pytest.raises(InputError, match="step"):
        shape_update(partial, step=0.0)


def test_a_slice_is_never_moved_out_of_its_plane() -> None:
    grid = Grid((20, 20, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    members = [Affine(np.diag([1.2, 0.9, 1.5, 1.0]))]
    update = shape_update(partial_sum([image_of(1, grid)], None, members))
    points = grid.world_points()
    np.testing.assert_allclose(update(points)[..., 2], points[..., 2], atol=1e-9)


def test_robust_averages_leave_out_the_odd_one() -> None:
    images = [image_of(value) for value in (1, 2, 3, 4, 100)]
    assert stack_average(images, method="median").data[0, 0, 0] == 3
    assert stack_average(images, method="trimmed_mean", trim=0.2).data[0, 0, 0] == 3
    assert stack_average(images, method="mean").data[0, 0, 0] == 22
    coverages = [None, None, None, None, image_of(0)]
    assert stack_average(images, coverages, method="median").data[0, 0, 0] == 2.5
    nowhere = [image_of(0)] * 5
    assert (stack_average(images, nowhere, method="median").data == 0).all()


def test_sharpening_steepens_edges_without_overshoot() -> None:
    ramp = np.clip((np.arange(24) - 8) / 8, 0, 1)[:, None, None]
    image = image_of(ramp)
    sharp = sharpen(image, amount=2.0)
    assert sharp.data.min() >= 0
    assert sharp.data.max() <= 1
    everything = image_of(1)
    assert sharpness(sharp, everything) >= sharpness(image, everything)
    assert np.abs(np.diff(sharp.data[:, 5, 5])).max() > np.abs(np.diff(image.data[:, 5, 5])).max()


def test_grid_holds_every_foreground_and_does_not_depend_on_storage() -> None:
    mask = ball()
    box = foreground_box(mask)
    np.testing.assert_allclose(box[2], GRID.centre, atol=0.5)
    flipped = Grid(
        GRID.shape, GRID.affine @ np.array([[-1.0, 0, 0, 23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    other = foreground_box(Image(mask.data[::-1], flipped))
    np.testing.assert_allclose(box, other, atol=1e-9)
    grid = average_grid([GRID, flipped], [box, other])
    np.testing.assert_allclose(np.linalg.norm(grid.affine[:3, :3], axis=0), np.diag(grid.affine)[:3])
    corners = grid.to_voxel(np.stack([box[0], box[1]]))
    assert (corners.min(axis=0) > 1).all()
    assert (corners.max(axis=0) < np.array(grid.shape) - 2).all()
    # R, A and S spacing: the axes of the oblique grid sorted by direction
    np.testing.assert_allclose(grid.spacing, [GRID.spacing[2], GRID.spacing[0], GRID.spacing[1]])
    assert average_grid([GRID], [box], spacing_mm=3.0).spacing.tolist() == [3, 3, 3]


def test_grid_of_coronal_slices_is_two_dimensional() -> None:
    coronal = np.array([[2.0, 0, 0, 0], [0, 0, 1, 40], [0, 2, 0, 0], [0, 0, 0, 1]])
    grid = Grid((30, 20, 1), coronal)
    result = average_grid([grid, grid], [foreground_box(image_of(1, grid))] * 2)
    assert result.shape == (36, 26, 1)
    np.testing.assert_allclose(np.abs(result.affine[:3, :3]), coronal[:3, :3])


def test_convergence_row_and_stop() -> None:
    partial = partial_sum([image_of(ball().data)] * 5, None, cohort())
    template = average(partial)
    update = shape_update(partial)
    first = convergence_row(
        1, "deformable", None, template, partial, update, [0.9, 0.91, 0.9, 0.92, 0.2], ball()
    )
    assert first["members"] == 5
    assert first["outliers"] == 1
    assert np.isnan(first["template_change"])
    assert first["rms_shape_update_mm"] > 0.5
    second = convergence_row(2, "deformable", template, template, partial, identity(), [0.9] * 5, ball())
    assert second["template_change"] == 0
    assert second["rms_shape_update_mm"] == 0
    assert has_converged([first, second], 0.1)
    assert not has_converged([second], 0.1)
    assert not has_converged([{**first, "stage": "affine"}, second], 0.1)
