"""``regcore landmarks`` from outside, and what its files are good for: a start, points to apply, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

from regcore.cli import main
from regcore.image import Image
from regcore.io.itk import read_transform, write_transform
from regcore.io.landmarks import read_landmarks, write_landmarks
from regcore.io.nifti import write_image
from regcore.kernels.smooth import gaussian_smooth
from regcore.landmarks import Landmarks
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine

GRID = Grid((64, 60, 56), np.diag([1.5, 1.5, 1.5, 1.0]))
TURN = Affine.from_parameters((25, -12, 8), (0.0, 0.1, 0.9), centre=GRID.centre)
POINTS = GRID.to_world(np.random.default_rng(1).uniform(20, 36, (12, 3)))
NAMES = tuple(f"p{n}" for n in range(12))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A textured ball, the same ball turned by half a right angle and moved away, and landmarks of both."""
    folder = tmp_path_factory.mktemp("landmarks")
    noise = gaussian_smooth(np.random.default_rng(0).standard_normal(GRID.shape).astype(np.float32), 1.5)
    ball = np.linalg.norm(GRID.world_points() - GRID.centre, axis=-1) < 39
    fixed = Image((noise / noise.std() + 6) * gaussian_smooth(ball.astype(np.float32), 1.0), GRID)
    away = Affine.from_parameters(TURN.matrix[:3, :3] @ GRID.centre + TURN.matrix[:3, 3] - GRID.centre)
    moved = Grid(GRID.shape, away.matrix @ GRID.affine)
    write_image(folder / "fixed.nii.gz", fixed)
    write_image(folder / "moving.nii.gz", resample(fixed, moved, TURN.inverse(), "cubic"))
    write_image(folder / "flat.nii.gz", Image(np.ones(GRID.shape, np.float32), GRID))
    write_landmarks(folder / "fixed.csv", Landmarks(POINTS, NAMES))
    write_landmarks(folder / "moving.mrk.json", Landmarks(TURN(POINTS), NAMES))
    write_landmarks(folder / "few.csv", Landmarks(POINTS[:2], NAMES[:2]))
    write_landmarks(folder / "others.csv", Landmarks(POINTS, tuple(f"q{n}" for n in range(12))))
    voxels = "\n".join(" ".join(f"{v:.6f}" for v in row) for row in GRID.to_voxel(POINTS))
    (folder / "index.txt").write_text(f"index\n12\n{voxels}\n")
    write_transform(folder / "turn.txt", TURN)
    return folder


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.chdir(folder)
    return main(command.split())


def test_matched_images_start_a_registration(folder, tmp_path, monkeypatch, capsys) -> None:
    points = f"--fixed-points {tmp_path}/f.tsv --moving-points {tmp_path}/m.mrk.json"
    images = "fixed.nii.gz moving.nii.gz"
    command = f"landmarks match {images} -t {tmp_path}/start.txt -m rigid --rotation {points}"
    assert run(folder, monkeypatch, command) == 0
    said = capsys.readouterr().out
    assert "keypoints" in said
    assert "FRE" in said
    first, second = read_landmarks(tmp_path / "f.tsv"), read_landmarks(tmp_path / "m.mrk.json")
    assert first.names == second.names
    assert np.median(np.linalg.norm(TURN(first.points) - second.points, axis=1)) < 0.5
    start = read_transform(tmp_path / "start.txt")
    assert np.linalg.norm(start(POINTS) - TURN(POINTS), axis=1).max() < 1.0
    # the second step goes on from the first, where one of its own searches would not find the turn
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "linear: [{model: rigid, shrink: [2], iterations: [40], rotations_deg: 0}]\ndeformable: null\n"
    )
    common = f"register {images} -s {settings} -q"
    assert run(folder, monkeypatch, f"{common} -t {tmp_path}/found.txt --initial {tmp_path}/start.txt") == 0
    assert run(folder, monkeypatch, f"{common} -t {tmp_path}/lost.txt") == 0
    found, lost = (read_transform(tmp_path / f"{name}.txt") for name in ("found", "lost"))
    assert np.linalg.norm(found(POINTS) - TURN(POINTS), axis=1).max() < 0.5
    assert np.linalg.norm(lost(POINTS) - TURN(POINTS), axis=1).max() > 3


def test_a_field_of_matches_is_a_start_too(folder, tmp_path, monkeypatch) -> None:
    images = "fixed.nii.gz fixed.nii.gz"
    assert run(folder, monkeypatch, f"landmarks match {images} -t {tmp_path}/start.h5 -m field -q") == 0
    settings = tmp_path / "settings.yaml"
    settings.write_text("linear: []\ndeformable: {shrink: [2], iterations: [2]}\n")
    command = f"register {images} -s {settings} -t {tmp_path}/x.h5 --initial {tmp_path}/start.h5 -q"
    assert run(folder, monkeypatch, command) == 0
    mapped = read_transform(tmp_path / "x.h5")(POINTS)
    assert np.linalg.norm(mapped - POINTS, axis=1).max() < 0.5


@pytest.mark.parametrize("fixed", ["fixed.csv", "index.txt --fixed-image fixed.nii.gz"])
def test_fit_writes_the_transform_and_says_its_error(folder, tmp_path, monkeypatch, capsys, fixed) -> None:
    assert run(folder, monkeypatch, f"landmarks fit {fixed} moving.mrk.json -t {tmp_path}/x.txt") == 0
    assert "fitted to 12 of 12 pairs, FRE 0.000 mm" in capsys.readouterr().out
    np.testing.assert_allclose(read_transform(tmp_path / "x.txt").matrix, TURN.matrix, atol=1e-4)


def test_simpleitk_maps_with_a_fitted_transform_as_we_do(folder, tmp_path, monkeypatch) -> None:
    sitk = pytest.importorskip("SimpleITK")
    bent = TURN(POINTS) + 1.5 * np.sin(POINTS / 9)
    write_landmarks(tmp_path / "bent.csv", Landmarks(bent, NAMES))
    for model, name in (("affine", "a.txt"), ("field", "f.h5")):
        command = f"landmarks fit fixed.csv {tmp_path}/bent.csv -t {tmp_path}/{name} -m {model}"
        assert run(folder, monkeypatch, f"{command} --fixed-image fixed.nii.gz -q") == 0
        theirs, flip = sitk.ReadTransform(str(tmp_path / name)), np.array([-1.0, -1.0, 1.0])
        mapped = np.array([theirs.TransformPoint(point.tolist()) for point in POINTS * flip]) * flip
        np.testing.assert_allclose(mapped, read_transform(tmp_path / name)(POINTS), atol=1e-3)
        if model == "field":
            np.testing.assert_allclose(mapped, bent, atol=0.2)


def test_slips_are_left_out_if_asked_for(folder, tmp_path, monkeypatch, capsys) -> None:
    moved = TURN(POINTS)
    moved[3] += [0, 0, 20]
    write_landmarks(tmp_path / "slip.csv", Landmarks(moved, NAMES))
    command = f"landmarks fit fixed.csv {tmp_path}/slip.csv -t {tmp_path}/x.txt"
    assert run(folder, monkeypatch, f"{command} --tolerance 2") == 0
    assert "fitted to 11 of 12 pairs" in capsys.readouterr().out
    assert np.linalg.norm(read_transform(tmp_path / "x.txt")(POINTS) - TURN(POINTS), axis=1).max() < 1e-3


def test_errors_are_printed_and_written(folder, tmp_path, monkeypatch, capsys) -> None:
    command = f"landmarks errors fixed.csv moving.mrk.json -t turn.txt -o {tmp_path}/e.tsv"
    assert run(folder, monkeypatch, command) == 0
    header, before, after = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert float(dict(zip(header, before, strict=True))["mean_mm"]) > 10
    assert float(dict(zip(header, after, strict=True))["max_mm"]) < 1e-4
    table = pandas.read_csv(tmp_path / "e.tsv", sep="\t")
    assert list(table["landmark"]) == list(NAMES)
    assert set(json.loads((tmp_path / "e.json").read_text())) == set(table.columns)


def test_apply_takes_landmarks_of_any_kind(folder, tmp_path, monkeypatch) -> None:
    for source, name in (("fixed.csv", "a.mrk.json"), ("fixed.csv", "a.tsv")):
        assert run(folder, monkeypatch, f"apply {source} {tmp_path}/{name} -t turn.txt") == 0
        mapped = read_landmarks(tmp_path / name)
        np.testing.assert_allclose(mapped.points, TURN(POINTS), atol=1e-5)
        assert mapped.names == NAMES
    assert run(folder, monkeypatch, f"apply moving.mrk.json {tmp_path}/b.csv -t turn.txt --inverse") == 0
    np.testing.assert_allclose(read_landmarks(tmp_path / "b.csv").points, POINTS, atol=1e-4)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("", "command"),
        ("match fixed.nii.gz moving.nii.gz", "--transform"),
        ("match fixed.nii.gz moving.nii.gz --fixed-points f.csv", "--moving-points"),
        ("match fixed.nii.gz moving.nii.gz -t out.txt -m field", "out.txt"),
        ("match fixed.nii.gz moving.nii.gz -t out.png", "out.png"),
        ("match fixed.nii.gz flat.nii.gz -t out.h5", "constant"),
        ("match fixed.nii.gz missing.nii.gz -t out.h5", "missing.nii.gz"),
        ("match fixed.nii.gz moving.nii.gz -t out.h5 --fixed-mask moving.nii.gz", "fixed_mask"),
        ("match fixed.nii.gz moving.nii.gz -t out.h5 --voxel -1", "voxel_mm"),
        ("fit fixed.csv moving.mrk.json -t out.h5 -m field", "--fixed-image"),
        ("fit fixed.csv moving.mrk.json -t out.h5 -m elastic", "elastic"),
        ("fit few.csv moving.mrk.json -t out.txt", "at least 3 pairs"),
        ("fit fixed.csv others.csv -t out.txt", "names that both sets have"),
        ("fit index.txt moving.mrk.json -t out.txt", "index.txt"),
        ("fit fixed.csv fixed.nii.gz -t out.txt", "fixed.nii.gz"),
        ("fit fixed.csv moving.mrk.json -t fixed.csv", "fixed.csv"),
        ("fit fixed.csv moving.mrk.json -t out.txt --tolerance -2", "tolerance"),
        ("errors fixed.csv missing.csv", "missing.csv"),
        ("errors fixed.csv moving.mrk.json -o out.xlsx", "out.xlsx"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(folder, monkeypatch, capsys, command, named) -> None:
    before = sorted(path.name for path in folder.iterdir())
    assert run(folder, monkeypatch, f"landmarks {command}") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert named.lower() in captured.err.lower()
    assert sorted(path.name for path in folder.iterdir()) == before


def test_landmarks_guide_a_registration(folder, tmp_path, monkeypatch) -> None:
    images, marks = "fixed.nii.gz moving.nii.gz", "--landmarks fixed.csv moving.mrk.json 0.1"
    command = f"register {images} -t {tmp_path}/guided.txt --preset rigid {marks} --quiet"
    assert run(folder, monkeypatch, command) == 0
    guided = read_transform(tmp_path / "guided.txt")
    assert np.linalg.norm(guided(POINTS) - TURN(POINTS), axis=1).max() < 0.1
    sidecar = json.loads((tmp_path / "guided.json").read_text())
    assert sidecar["Landmarks"] == ["fixed.csv", "moving.mrk.json", 0.1]
