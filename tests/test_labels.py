from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage, optimize

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.parallel import set_threads
from regcore.labels import (
    FUSIONS,
    dice,
    fuse,
    joint_fusion,
    local_weighted_vote,
    majority_vote,
    overlap_table,
    propagate,
    staple,
    surface_distances,
)
from regcore.space import Grid
from regcore.transforms import Affine

GRID = Grid((28, 26, 20), np.diag([1.0, 1.0, 2.0, 1.0]))


def atlases(
    shifts: list[tuple[int, int, int]], seed: int = 0
) -> tuple[Image, Image, list[Image], list[Image]]:
    """A textured target and its labels, and atlases that are the target shifted by whole voxels."""
    rng = np.random.default_rng(seed)
    regions = ndimage.gaussian_filter(rng.normal(size=(4, *GRID.shape)), (0, 3, 3, 2)).argmax(axis=0)
    texture = regions * 10.0 + ndimage.gaussian_filter(rng.normal(size=GRID.shape), 1) * 10
    images, labels = [], []
    for number, shift in enumerate(shifts):
        moved = np.roll(texture, shift, axis=(0, 1, 2)) * (1 + 0.3 * number) + 20 * number
        images.append(Image(moved.astype(np.float32), GRID))
        labels.append(Image(np.roll(regions, shift, axis=(0, 1, 2)).astype(np.int32), GRID))
    return Image(texture.astype(np.float32), GRID), Image(regions.astype(np.int32), GRID), images, labels


def mean_dice(first: Image, second: Image) -> float:
    return float(np.mean(list(dice(first, second).values())))


def test_majority_matches_a_plain_count() -> None:
    rng = np.random.default_rng(0)
    maps = [Image(rng.integers(0, 4, GRID.shape).astype(np.int32), GRID) for _ in range(5)]
    fused, confidence = majority_vote(maps)
    for voxel in rng.integers(0, 20, (200, 3)):
        votes = Counter(int(image.data[tuple(voxel)]) for image in maps)
        most = max(votes.values())
        assert fused.data[tuple(voxel)] == min(label for label, count in votes.items() if count == most)
        assert confidence.data[tuple(voxel)] == pytest.approx(most / 5)


@pytest.mark.parametrize("fuse", [local_weighted_vote, joint_fusion])
def test_similar_atlases_win_over_the_majority(fuse) -> None:
    target, truth, images, labels = atlases([(0, 0, 0), (2, 0, 0), (2, 1, 0), (2, 0, 1), (2, 0, 0)])
    voted = mean_dice(majority_vote(labels)[0], truth)
    fused, confidence = fuse(target, images, labels)
    assert mean_dice(fused, truth) > max(voted + 0.05, 0.97)
    assert confidence.data.min() > 0
    assert confidence.data.max() <= 1 + 1e-6


def test_search_finds_what_a_registration_missed() -> None:
    target, truth, images, labels = atlases([(1, 0, 0), (0, 1, 0), (0, 0, 1)])
    without = mean_dice(local_weighted_vote(target, images, labels, search=0)[0], truth)
    assert mean_dice(local_weighted_vote(target, images, labels, search=1)[0], truth) > max(without, 0.95)


@pytest.mark.parametrize("fuse", [local_weighted_vote, joint_fusion])
def test_fusion_has_the_same_bits_for_any_number_of_threads(fuse) -> None:
    target, _, images, labels = atlases([(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    results = []
    for threads in (1, 3):
        set_threads(threads)
        results.append(fuse(target, images, labels))
    set_threads(0)
    for first, second in zip(*results, strict=True):
        assert np.array_equal(first.data, second.data)


@pytest.mark.parametrize("fuse", [local_weighted_vote, joint_fusion])
def test_agreement_is_kept_and_flat_images_do_no_harm(fuse) -> None:
    _, _, images, labels = atlases([(0, 0, 0), (1, 0, 0)])
    flat = Image(np.zeros(GRID.shape, np.float32), GRID)
    fused, confidence = fuse(flat, [flat, flat], labels)
    same = labels[0].data == labels[1].data
    assert np.array_equal(fused.data[same], labels[0].data[same])
    assert np.isfinite(confidence.data).all()
    alone, _ = fuse(flat, images[:1], labels[:1])
    assert np.array_equal(alone.data, labels[0].data)


def reference_joint(target, images, labels, radius, search, alpha, beta):
    """Joint label fusion voxel by voxel, as the paper has it."""
    margin = radius + search
    shape = target.shape
    padded = [np.pad(np.asarray(each, np.float64), margin, mode="edge") for each in (target, *images)]
    maps = [np.pad(each, margin, mode="edge") for each in labels]
    steps = np.mgrid[tuple(slice(-search, search + 1) for _ in range(3))].reshape(3, -1).T
    steps = steps[np.argsort((steps**2).sum(axis=1), kind="stable")]

    def unit_patch(volume, at):
        patch = volume[tuple(slice(i - radius, i + radius + 1) for i in at)].ravel()
        patch = patch - patch.mean()
        # beyond a corner of the image a patch is flat
        return patch / max(np.linalg.norm(patch), 1e-6)

    scores = [Counter() for _ in range(target.size)]
    disputed = np.any([each != labels[0] for each in labels], axis=0)
    for voxel in np.argwhere(disputed):
        at = voxel + margin
        mine = unit_patch(padded[0], at)
        apart, chosen = [], []
        for image in padded[1:]:
            patches = [unit_patch(image, at + step) for step in steps]
            best = int(np.argmax([patch @ mine for patch in patches]))
            chosen.append(steps[best])
            apart.append(np.abs(patches[best] - mine))
        matrix = (np.array(apart) @ np.array(apart).T) ** beta + alpha * np.eye(len(images))
        lower = np.linalg.cholesky(matrix)
        weights = optimize.nnls(lower.T, np.linalg.solve(lower, np.ones(len(images))))[0]
        for offset in np.ndindex(*(2 * radius + 1,) * 3):
            there = voxel + offset - radius
            if (there >= 0).all() and (there < shape).all() and disputed[tuple(there)]:
                for step, weight, volume in zip(chosen, weights / weights.sum(), maps, strict=True):
                    place = np.ravel_multi_index(tuple(there), shape)
                    scores[place][int(volume[tuple(there + margin + step)])] += weight
    fused, confidence = labels[0].copy(), np.ones(shape)
    for voxel in np.argwhere(disputed):
        votes = scores[np.ravel_multi_index(tuple(voxel), shape)]
        label, most = max(votes.items(), key=lambda item: (item[1], -item[0]))
        fused[tuple(voxel)], confidence[tuple(voxel)] = label, most / sum(votes.values())
    return fused, confidence


@pytest.mark.parametrize(("radius", "search", "beta", "alpha"), [(1, 1, 2.0, 0.1), (1, 2, 1.5, 0.001)])
def test_joint_fusion_matches_the_slow_reference(radius, search, beta, alpha) -> None:
    rng = np.random.default_rng(4)
    grid = Grid((11, 9, 10), np.eye(4))
    texture = ndimage.gaussian_filter(rng.normal(size=grid.shape), 1)
    images, maps = [], []
    for number in range(5):
        image = texture * (1 + number) + 100 + 0.1 * ndimage.gaussian_filter(rng.normal(size=grid.shape), 0.7)
        # the last two err together
        image += 0.4 * np.roll(texture, 2, axis=1) if number > 2 else 0
        images.append(image.astype(np.float32))
        maps.append((np.roll(texture, number - 2, axis=0) > 0).astype(np.int32) * (number + 3))
    expected, share = reference_joint(texture, images, maps, radius, search, alpha, beta)
    fused, confidence = joint_fusion(
        Image(texture.astype(np.float32), grid),
        [Image(each, grid) for each in images],
        [Image(each, grid) for each in maps],
        radius, search, alpha, beta,
    )  # fmt: skip
    assert len(np.unique(expected)) > 3
    np.testing.assert_allclose(confidence.data, share, atol=2e-4)
    assert (fused.data == expected).mean() > 0.998


def test_staple_finds_out_who_is_reliable() -> None:
    """One good rater against two bad ones that err apart: the majority is wrong more often than STAPLE."""
    rng = np.random.default_rng(5)
    truth = ndimage.gaussian_filter(rng.normal(size=(3, *GRID.shape)), (0, 2, 2, 1)).argmax(axis=0)
    maps = []
    for wrong in (0.02, 0.4, 0.45, 0.4):
        noise = rng.random(GRID.shape) < wrong
        maps.append(Image(np.where(noise, rng.integers(0, 3, GRID.shape), truth).astype(np.int32), GRID))
    fused, confidence = staple(maps)
    voted, _ = majority_vote(maps)
    wrong = fused.data != truth
    assert wrong.mean() < 0.5 * (voted.data != truth).mean()
    assert confidence.data[wrong].mean() < confidence.data[~wrong].mean()
    with pytest.raises(InputError, match="iteration"):
        staple(maps, iterations=0)


def test_staple_agrees_with_simpleitk() -> None:
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra 'formats'")
    rng = np.random.default_rng(6)
    truth = ndimage.gaussian_filter(rng.normal(size=(4, *GRID.shape)), (0, 2, 2, 1)).argmax(axis=0)
    maps = []
    for wrong in (0.05, 0.2, 0.3, 0.25, 0.15):
        noise = rng.random(GRID.shape) < wrong
        maps.append(Image(np.where(noise, rng.integers(0, 4, GRID.shape), truth).astype(np.int32), GRID))
    judge = sitk.MultiLabelSTAPLEImageFilter()
    theirs = judge.Execute([sitk.GetImageFromArray(image.data.astype(np.uint8)) for image in maps])
    ours, _ = staple(maps, iterations=200, tolerance=1e-6)
    assert (ours.data == sitk.GetArrayFromImage(theirs)).mean() > 0.999


@pytest.mark.parametrize("method", FUSIONS)
def test_every_fusion_has_a_name(method) -> None:
    target, truth, images, labels = atlases([(0, 0, 0), (0, 0, 0), (1, 0, 0)])
    fused, confidence = fuse(method, target, images, labels)
    assert mean_dice(fused, truth) > 0.95
    assert 0 < confidence.data.min() <= confidence.data.max() <= 1
    with pytest.raises(InputError, match="one of majority"):
        fuse("plurality", target, images, labels)


def test_slices_are_fused_in_their_plane() -> None:
    grid = Grid((20, 20, 1), np.eye(4))
    rng = np.random.default_rng(2)
    texture = Image(rng.random((20, 20, 1), np.float32), grid)
    noise = Image(rng.random((20, 20, 1), np.float32), grid)
    maps = [Image(np.full((20, 20, 1), value, np.int32), grid) for value in (1, 2, 2)]
    fused, _ = local_weighted_vote(texture, [texture, noise, noise], maps)
    assert (fused.data == 1).all()


def test_fusion_refuses_what_does_not_belong_together() -> None:
    target, _, images, labels = atlases([(0, 0, 0), (1, 0, 0)])
    with pytest.raises(InputError, match="at least one atlas"):
        majority_vote([])
    with pytest.raises(InputError, match="found 1 and 2"):
        local_weighted_vote(target, images[:1], labels)
    with pytest.raises(InputError, match="integers"):
        majority_vote([target])
    with pytest.raises(InputError, match="radius"):
        local_weighted_vote(target, images, labels, radius=0)
    elsewhere = Image(labels[0].data, Grid(GRID.shape, np.eye(4)))
    with pytest.raises(InputError, match="grid"):
        local_weighted_vote(target, images, [labels[0], elsewhere])


def test_propagation_moves_labels_and_image_alike() -> None:
    target, truth, _, _ = atlases([])
    labels, image = propagate(truth, target, GRID, Affine.from_parameters(translation=(3, 0, 0)))
    assert np.array_equal(labels.data[:-3], truth.data[3:])
    np.testing.assert_allclose(image.data[:-3], target.data[3:], atol=1e-4)


def test_overlap_of_known_shapes() -> None:
    first, second = np.zeros(GRID.shape, np.int32), np.zeros(GRID.shape, np.int32)
    first[4:12, 4:12, 4:12] = 7
    second[6:14, 4:12, 4:12] = 7
    first[20, 20, 10] = 40000
    table = overlap_table(Image(first, GRID), Image(second, GRID), {7: "cube"})
    assert table["label"].tolist() == [7, 40000]
    assert table["structure"].tolist() == ["cube", "label-40000"]
    assert table["dice"].tolist() == [0.75, 0.0]
    assert table["hausdorff95_mm"][0] == pytest.approx(2.0)
    assert 0 < table["surface_distance_mm"][0] < 2
    assert np.isnan(table["hausdorff95_mm"][1])
    assert table["volume_mm3"].tolist() == [1024.0, 2.0]
    assert table["reference_volume_mm3"].tolist() == [1024.0, 0.0]


def test_surface_distance_is_zero_for_equal_maps_and_counts_millimetres() -> None:
    data = np.zeros(GRID.shape, np.int32)
    data[5:9, 5:9, 5:9] = 3
    assert surface_distances(Image(data, GRID), Image(data, GRID)) == {3: (0.0, 0.0)}
    one, other = np.zeros(GRID.shape, np.int32), np.zeros(GRID.shape, np.int32)
    one[3, 3, 3], other[3, 3, 6] = 1, 1
    assert surface_distances(Image(one, GRID), Image(other, GRID)) == {1: (6.0, 6.0)}


def test_overlap_refuses_different_grids() -> None:
    data = np.ones(GRID.shape, np.int32)
    with pytest.raises(InputError, match="one grid"):
        dice(Image(data, GRID), Image(data, Grid(GRID.shape, np.eye(4))))
