"""Label maps and further images as channels, in the library and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_registration import smooth_warp, textured

from regcore.cli import main
from regcore.errors import InputError
from regcore.image import Image
from regcore.io.itk import read_transform
from regcore.io.nifti import read_labels, write_image
from regcore.labels.overlap import dice
from regcore.registration import (
    Channel,
    DeformableSettings,
    LinearSettings,
    RegistrationSettings,
    label_channels,
    preset,
    register,
)
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine

GRID = Grid((48, 44, 40), np.diag([1.2, 1.0, 1.5, 1.0]))


def regions(grid: Grid = GRID) -> Image:
    """Four parts of an object, with labels far apart."""
    bright = textured(grid.shape)
    side = np.arange(grid.shape[0])[:, None, None] < grid.shape[0] // 2
    labels = np.where(bright > 0, np.where(side, 3, 1000) + 17 * (bright > 0.6), 0)
    return Image(labels.astype(np.int32), grid)


def mean_dice(first: Image, second: Image) -> float:
    return float(np.mean(list(dice(first, second).values())))


def test_a_channel_a_label_the_smaller_ones_together() -> None:
    labels = regions()
    values, counts = np.unique(labels.data[labels.data > 0], return_counts=True)
    every = label_channels(labels, labels)
    assert len(every) == 4
    sums = [channel.fixed.data.sum() for channel in every]
    np.testing.assert_allclose(sums, sorted(counts, reverse=True), rtol=1e-3)
    three = label_channels(labels, labels, most=3)
    np.testing.assert_allclose(three[2].fixed.data.sum(), np.sort(counts)[:2].sum(), rtol=1e-3)
    grouped = label_channels(labels, labels, groups=[(3, 20), (1000, 5)], weight=0.5)
    assert [channel.weight for channel in grouped] == [0.5, 0.5]
    assert {channel.metric for channel in every} == {"ssd"}
    assert set(values) == {3, 20, 1000, 1017}


def test_labels_that_only_one_map_holds_are_left_out() -> None:
    labels = regions()
    other = Image(np.where(labels.data == 3, 7, labels.data).astype(np.int32), GRID)
    assert len(label_channels(labels, other)) == 3
    with pytest.raises(InputError, match="labels: expected one that both maps hold, found 3 and 7"):
        label_channels(Image(3 * (labels.data > 0), GRID), Image(7 * (labels.data > 0), GRID))
    with pytest.raises(InputError, match=r"fixed labels: expected whole numbers, found 0\.5"):
        label_channels(Image(0.5 * (labels.data > 0), GRID), labels)


def test_label_maps_are_registered_label_onto_label() -> None:
    moving = regions()
    turn = Affine.from_parameters(rotation=(0.15, -0.1, 0.1), translation=(4, -3, 2), centre=GRID.centre)
    fixed = resample(resample(moving, GRID, smooth_warp(GRID, 4.0), "label"), GRID, turn, "label")
    result = register(fixed, moving, preset("label-map"))
    assert mean_dice(fixed, resample(moving, GRID, result.forward, "label")) > 0.93
    assert result.quality["folded_voxels"] == 0
    assert result.quality["linear_retries"] == 0


def test_labels_guide_where_the_image_shows_nothing() -> None:
    labels, warp = regions(), smooth_warp(GRID, 8.0)
    plain = Image((labels.data > 0).astype(np.float32), GRID)
    fixed, fixed_labels = resample(plain, GRID, warp), resample(labels, GRID, warp, "label")
    settings = RegistrationSettings((), DeformableSettings("ncc", shrink=(2.0, 1.0), iterations=(60, 40)))
    alone = register(fixed, plain, settings)
    guided = register(fixed, plain, settings, channels=label_channels(fixed_labels, labels))
    found = [
        mean_dice(fixed_labels, resample(labels, GRID, each.forward, "label")) for each in (alone, guided)
    ]
    assert 1 - found[1] < 0.5 * (1 - found[0])


def test_a_channel_can_have_a_measure_of_its_own() -> None:
    moving = Image(textured(), GRID)
    truth = Affine.from_parameters(translation=(3, -2, 1))
    fixed = resample(moving, GRID, truth)
    bright = Image(1.2 - fixed.data, GRID)
    settings = RegistrationSettings((LinearSettings("translation", "mi"),), None)
    result = register(fixed, moving, settings, channels=[Channel(bright, moving, 1.0, "mind")])
    assert np.linalg.norm(result.forward(GRID.centre) - truth(GRID.centre)) < 0.1
    with pytest.raises(InputError, match="channel 1: expected a measure among ssd"):
        register(fixed, moving, settings, channels=[Channel(bright, moving, 1.0, "cc")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that show nothing but an outline, and labels of what is in it, shifted."""
    folder = tmp_path_factory.mktemp("channels")
    labels, shift = regions(), Affine.from_parameters(translation=(5, 0, 0))
    moved = resample(labels, GRID, shift, "label")
    for name, each in (("moving", labels), ("fixed", moved)):
        write_image(folder / f"{name}_dseg.nii.gz", each)
        write_image(folder / f"{name}.nii.gz", Image((each.data > 0).astype(np.float32), GRID))
        write_image(folder / f"{name}_part.nii.gz", Image((each.data == 3).astype(np.float32), GRID))
    (folder / "shift.yaml").write_text("linear: [{model: translation, metric: ncc}]\ndeformable: null\n")
    return folder


@pytest.mark.parametrize(
    "extra",
    [
        "--labels fixed_dseg.nii.gz moving_dseg.nii.gz",
        "--channel fixed_part.nii.gz moving_part.nii.gz 0.5",
        "--channel fixed_part.nii.gz moving_part.nii.gz 0.5 --channel fixed.nii.gz moving.nii.gz 1e-1",
        "--match-histograms",
    ],
)
def test_the_command_line_takes_channels(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.chdir(folder)
    output = tmp_path / "xfm.txt"
    command = ["register", "fixed.nii.gz", "moving.nii.gz", "-s", "shift.yaml", "-q", "-t", str(output)]
    assert main([*command, *extra.split()]) == 0
    shift = read_transform(output)(GRID.centre) - GRID.centre
    np.testing.assert_allclose(shift, [5, 0, 0], atol=0.3)
    report = json.loads(output.with_suffix(".json").read_text())
    assert len(report["Channels"]) == extra.count("--channel")
    assert len(report["Labels"]) == 2 * extra.count("--labels")
    assert report["Settings"]["match_histograms"] is (extra == "--match-histograms")


def test_label_maps_on_the_command_line_come_back_as_labels(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    warped = tmp_path / "warped.nii.gz"
    command = ["register", "fixed_dseg.nii.gz", "moving_dseg.nii.gz", "-q", "-p", "label-map", "-t"]
    assert main([*command, str(tmp_path / "xfm.h5"), "-w", str(warped)]) == 0
    found, wanted = read_labels(warped), read_labels("fixed_dseg.nii.gz")
    assert set(np.unique(found.data)) == set(np.unique(wanted.data))
    assert mean_dice(found, wanted) > 0.95
