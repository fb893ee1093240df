"""Keypoints, descriptors and matches: what they promise, and known maps recovered from images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from regcore.errors import InputError
from regcore.features import (
    KeypointSettings,
    MatchSettings,
    RansacSettings,
    default_tolerance,
    detect,
    extract_features,
    find_correspondences,
    fit_transform,
    match,
    registration_errors,
    scale_space,
)
from regcore.features.descriptors import plane_basis
from regcore.image import Image
from regcore.io.landmarks import read_landmarks
from regcore.io.nifti import read_image, read_mask
from regcore.kernels.parallel import set_threads
from regcore.kernels.smooth import gaussian_smooth
from regcore.landmarks import Landmarks
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement

RNG = np.random.default_rng


def oblique(spacing: tuple[float, float, float] = (1.2, 1.0, 1.8), degrees: float = 20.0) -> np.ndarray:
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [degrees, -0.7 * degrees, 0.5 * degrees], degrees=True).as_matrix()
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = [12.0, -30.0, 7.0]
    return affine


def texture(shape: tuple[int, ...], seed: int = 0, sigma_vox: float = 1.5) -> np.ndarray:
    noise = gaussian_smooth(RNG(seed).standard_normal(shape).astype(np.float32), sigma_vox)
    return noise / noise.std()


GRID = Grid((56, 60, 36), oblique())
TEXTURE = Image(texture(GRID.shape), GRID)


def inner_points(grid: Grid, count: int = 200, margin: float = 0.25) -> np.ndarray:
    top = np.array(grid.shape) - 1.0
    return grid.to_world(RNG(9).uniform(margin * top, (1 - margin) * top, (count, 3)))


def test_the_number_of_threads_changes_no_bit() -> None:
    results = []
    for threads in (1, 3):
        set_threads(threads)
        features = extract_features(TEXTURE)
        matches = match(features, features)
        results.append([features.keypoints.points, features.descriptors, matches.fixed, matches.ratio])
    set_threads(0)
    for one, several in zip(*results, strict=True):
        assert np.array_equal(one, several)


# keypoints


@pytest.mark.parametrize("flat", [False, True])
def test_blobs_are_found_to_a_fraction_of_a_voxel_with_their_size_in_mm(flat: bool) -> None:
    """A Gaussian blob stands out most at its own width, times the root of 2 / dimensions."""
    grid = (
        Grid((70, 60, 1), oblique((1.0, 1.3, 3.0))) if flat else Grid((56, 48, 40), oblique((1.0, 1.3, 1.6)))
    )
    axes = 2 if flat else 3
    world = grid.world_points()
    places = [[0.3, 0.3, 0.0], [0.7, 0.65, 0.0]] if flat else [[0.3, 0.3, 0.35], [0.68, 0.66, 0.6]]
    centres = grid.to_world(np.array(places) * (np.array(grid.shape) - 1) + [0.3, 0.4, 0.0 if flat else 0.2])
    for widths in ((3.0, 3.0), (4.0, 6.0)):
        data = np.zeros(grid.shape)
        for centre, width, height in zip(centres, widths, (1.0, -1.0), strict=True):
            data += height * np.exp(-((world - centre) ** 2).sum(axis=-1) / (2 * width**2))
        settings = KeypointSettings()
        found = detect(scale_space(Image(data.astype(np.float32), grid), settings), settings)
        for centre, width, sign in zip(centres, widths, (-1.0, 1.0), strict=True):
            best = np.argmin(np.linalg.norm(found.points[:6] - centre, axis=1))
            assert np.linalg.norm(found.points[best] - centre) < 0.2
            # the response lies between a scale and the next: half a step
            expected = width * np.sqrt(2 / axes) * 2 ** (-0.5 / settings.scales)
            assert found.sigmas_mm[best] == pytest.approx(expected, rel=0.06)
            assert np.sign(found.responses[best]) == sign


def test_tubes_and_sheets_are_no_keypoints_and_masks_are_kept_to() -> None:
    grid = Grid((48, 48, 48), np.eye(4))
    x, y, z = np.moveaxis(grid.world_points(), -1, 0)
    data = np.exp(-((x - 12) ** 2 + (y - 12) ** 2) / 18) + np.exp(-((z - 36) ** 2) / 18)
    data += 1.5 * np.exp(-((x - 33) ** 2 + (y - 30) ** 2 + (z - 15) ** 2) / 18)
    settings = KeypointSettings(contrast=0.02, edge_ratio=5.0)
    octaves = scale_space(Image(data.astype(np.float32), grid), settings)
    found = detect(octaves, settings)
    bright = found.points[found.responses < 0]
    ball, crossing = (np.linalg.norm(bright - place, axis=1) for place in ([33, 30, 15], [12, 12, 36]))
    assert ball.min() < 0.3
    assert np.minimum(ball, crossing).max() < 1.0
    mask = np.zeros(grid.shape, np.uint8)
    mask[:24] = 1
    assert (detect(octaves, settings, Image(mask, grid)).points[:, 0] < 24).all()
    assert len(detect(octaves, KeypointSettings(most=1))) == 1


def test_brightness_and_contrast_change_nothing() -> None:
    first = extract_features(TEXTURE)
    second = extract_features(Image(TEXTURE.data * np.float32(350) - np.float32(1000), GRID))
    assert len(first) > 100
    assert len(second) == len(first)
    np.testing.assert_allclose(second.keypoints.points, first.keypoints.points, atol=0.02)
    np.testing.assert_allclose(second.descriptors, first.descriptors, atol=5e-3)
    np.testing.assert_allclose(np.linalg.norm(first.descriptors, axis=1), 1, atol=1e-5)


def test_matches_are_mutual_distinct_and_ordered() -> None:
    first = extract_features(TEXTURE)
    shifted = Affine.from_parameters(translation=(2.0, -1.0, 1.5))
    second = extract_features(resample(TEXTURE, GRID, shifted, "cubic"))
    found = match(first, second, MatchSettings(ratio=0.8))
    assert len(set(found.moving.tolist())) == len(found.moving) == len(set(found.fixed.tolist()))
    assert (np.diff(found.ratio) >= 0).all()
    assert found.ratio.max() <= 0.8
    right = first.keypoints.points[found.fixed] - shifted(second.keypoints.points[found.moving])
    assert (np.linalg.norm(right, axis=1) < 0.5).mean() > 0.8
    assert (np.linalg.norm(right, axis=1) < 2.5).mean() > 0.98
    back = match(second, first, MatchSettings(ratio=0.8))
    assert sorted(zip(back.moving.tolist(), back.fixed.tolist(), strict=True)) == sorted(
        zip(found.fixed.tolist(), found.moving.tolist(), strict=True)
    )
    near = match(first, second, MatchSettings(ratio=1.0), shifted.inverse(), reach_mm=1.0)
    expected = shifted.inverse()(first.keypoints.points[near.fixed])
    assert np.linalg.norm(expected - second.keypoints.points[near.moving], axis=1).max() <= 1.0
    assert len(near.fixed) > 0.7 * len(first)


# whole images


TRUTHS = {
    "rigid": Affine.from_parameters((3, -4, 2), (0.1, -0.15, 0.2), centre=GRID.centre),
    "similarity": Affine.from_parameters((-2, 3, 4), (0.1, 0.1, -0.1), (1.1, 1.1, 1.1), centre=GRID.centre),
    "affine": Affine.from_parameters(
        (4, 2, -3), (0.05, -0.1, 0.1), (1.08, 0.94, 1.05), (0.06, -0.04, 0.05), centre=GRID.centre
    ),
}


def seen_through(transform: Affine, grid: Grid) -> tuple[Image, Image]:
    """The texture as it looks through a map, and a mask of where it is seen."""
    everywhere = Image(np.ones(GRID.shape, np.float32), GRID)
    seen = resample(everywhere, grid, transform).data > 0.5
    return resample(TEXTURE, grid, transform, "cubic"), Image(seen.astype(np.uint8), grid)


@pytest.mark.parametrize("model", TRUTHS)
def test_known_maps_are_recovered_between_two_oblique_grids(model: str) -> None:
    truth = TRUTHS[model]
    # the fixed image has other axes and voxels than the moving one, and another brightness
    affine = oblique((1.3, 1.3, 1.1), -15.0)
    affine[:3, 3] += GRID.centre - Grid((50, 50, 52), affine).centre
    grid = Grid((50, 50, 52), affine)
    fixed, mask = seen_through(truth, grid)
    found = find_correspondences(Image(40 * fixed.data + 7, grid), TEXTURE, model=model, fixed_mask=mask)
    assert found.fixed.names == found.moving.names
    tolerance = default_tolerance(grid)
    fit = fit_transform(found.fixed, found.moving, model, ransac=RansacSettings(tolerance_mm=tolerance))
    points = inner_points(GRID)
    here = truth.inverse()(points)
    error = registration_errors(Landmarks(here), Landmarks(points), fit.transform)
    assert error.mean() < 0.3
    assert fit.used.mean() > 0.8


def wave(grid: Grid) -> Displacement:
    """A smooth displacement of some millimetres."""
    x, y, z = np.moveaxis(grid.world_points() / 14, -1, 0)
    return Displacement.from_world(
        2 * np.stack([np.sin(y) + np.cos(z), np.sin(x), np.cos(x + y)], axis=-1), grid
    )


def test_a_known_warp_is_recovered() -> None:
    warp = Chain((TRUTHS["rigid"], wave(GRID)))
    found = find_correspondences(resample(TEXTURE, GRID, warp, "cubic"), TEXTURE)
    points = inner_points(GRID)
    truth = Landmarks(warp(points))
    affine = fit_transform(found.fixed, found.moving, "affine").transform
    field = fit_transform(found.fixed, found.moving, "field", grid=GRID, smoothing=2.0).transform
    left = registration_errors(Landmarks(points), truth, affine).mean()
    assert left > 1.0
    assert registration_errors(Landmarks(points), truth, field).mean() < 0.35 * left


@pytest.mark.parametrize("degrees", [70.0, 180.0])
def test_any_turn_if_asked_for(degrees: float) -> None:
    turn = Affine.from_parameters(
        (1, 2, 0), np.deg2rad(degrees) * np.array([0.36, 0.48, 0.8]), centre=GRID.centre
    )
    fixed, mask = seen_through(turn, GRID)
    found = find_correspondences(
        fixed, TEXTURE, KeypointSettings(rotation=True), model="rigid", fixed_mask=mask
    )
    fit = fit_transform(found.fixed, found.moving, "rigid", ransac=RansacSettings(tolerance_mm=3.0))
    points = turn.inverse()(inner_points(GRID, margin=0.35))
    assert registration_errors(Landmarks(points), Landmarks(turn(points)), fit.transform).mean() < 0.2
    with pytest.raises(InputError, match="more pairs than by chance that agree on a map of model rigid"):
        find_correspondences(fixed, TEXTURE, model="rigid", fixed_mask=mask)


@pytest.mark.parametrize("rotation", [False, True])
def test_slices_are_matched_in_their_plane(rotation: bool) -> None:
    grid = Grid((120, 110, 1), oblique((0.8, 1.0, 5.0)))
    moving = Image(texture(grid.shape, 4, 2.0), grid)
    normal = np.cross(grid.affine[:3, 0], grid.affine[:3, 1])
    normal /= np.linalg.norm(normal)
    angle = 1.2 if rotation else 0.15
    shift = plane_basis(grid) @ [4.0, -3.0]
    truth = Affine.from_parameters(shift, angle * normal, centre=grid.centre)
    fixed = resample(moving, grid, truth, "cubic")
    found = find_correspondences(fixed, moving, KeypointSettings(rotation=rotation), model="rigid")
    points = inner_points(grid, margin=0.3)
    for model in ("rigid", "affine", "field"):
        ransac = None if model == "field" else RansacSettings(tolerance_mm=2.0)
        fit = fit_transform(found.fixed, found.moving, model, grid=grid, ransac=ransac, smoothing=5.0)
        assert np.abs((fit.transform(points) - points) @ normal).max() < 1e-4
        assert registration_errors(Landmarks(points), Landmarks(truth(points)), fit.transform).mean() < 0.4


def test_images_that_cannot_be_used() -> None:
    cube = Grid((24, 24, 24), np.eye(4))
    noise = Image(texture(cube.shape), cube)
    slice_grid = Grid((40, 40, 1), np.eye(4))
    ones = Image(np.ones(cube.shape, np.float32), cube)
    broken = Image(np.full(cube.shape, np.nan, np.float32), cube)
    small = Grid((8, 24, 24), np.eye(4))
    for image, mask, message in (
        (ones, None, "constant 1"),
        (broken, None, "NaN"),
        (Image(texture(small.shape), small), None, "at least 12 cubic voxels"),
        (noise, Image(np.zeros(cube.shape, np.uint8), cube), "empty mask"),
        (noise, Image(np.ones(small.shape, np.uint8), small), "grid of its image"),
    ):
        with pytest.raises(InputError, match=message):
            extract_features(image, mask=mask)
    ramp = Image(np.arange(cube.size, dtype=np.float32).reshape(cube.shape), cube)
    assert len(extract_features(ramp)) == 0
    with pytest.raises(InputError, match="found none"):
        find_correspondences(ramp, noise)
    with pytest.raises(InputError, match="both 2D or both 3D"):
        find_correspondences(noise, Image(texture(slice_grid.shape), slice_grid))
    with pytest.raises(InputError, match=r"keypoints.voxel_mm: expected larger voxels"):
        extract_features(noise, KeypointSettings(voxel_mm=0.001))
    with pytest.raises(InputError, match="both images 2D or both 3D"):
        match(extract_features(noise), extract_features(Image(texture(slice_grid.shape), slice_grid)))
    with pytest.raises(InputError, match="pairs"):
        find_correspondences(noise, Image(texture(cube.shape, 5), cube))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": 0}, "keypoints.scales"),
        ({"cells": 1.5}, "whole number"),
        ({"contrast": -1}, "keypoints.contrast"),
    ],
)
def test_settings_refuse_what_cannot_work(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        KeypointSettings(**change)
    with pytest.raises(InputError, match=r"matching.ratio"):
        MatchSettings(ratio=2)
    with pytest.raises(InputError, match=r"ransac.tolerance_mm"):
        RansacSettings(tolerance_mm=0)


@pytest.mark.slow
def test_a_breathing_lung(real_data) -> None:
    """51 landmarks that experts set at two breaths, 35 mm apart."""
    folder: Path = real_data("lung")
    fixed, moving = (read_image(folder / f"3DCT_lung_{name}.mha") for name in ("baseline", "followup"))
    masks = [read_mask(folder / f"3DCT_lung_{name}_mask.mha") for name in ("baseline", "followup")]
    targets = read_landmarks(folder / "3DCT_lung_baseline_landmarks.txt")
    truth = read_landmarks(folder / "3DCT_lung_groundtruth_point.txt")
    inside = np.ones(len(targets), bool)
    for image, landmarks in ((fixed, targets), (moving, truth)):
        at = image.grid.to_voxel(landmarks.points)
        inside &= ((at >= 0) & (at <= np.array(image.grid.shape) - 1)).all(axis=1)
    targets, truth = (landmarks.take(np.flatnonzero(inside)) for landmarks in (targets, truth))
    assert len(targets) == 51
    found = find_correspondences(fixed, moving, fixed_mask=masks[0], moving_mask=masks[1])
    fit = fit_transform(found.fixed, found.moving, "field", grid=fixed.grid, smoothing=20.0)
    assert registration_errors(targets, truth).mean() > 30
    error = registration_errors(targets, truth, fit.transform)
    assert error.mean() < 2.6
    assert np.median(error) < 2.2
