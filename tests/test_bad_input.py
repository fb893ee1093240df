"""What cannot be registered: one clear line, exit code 2, and nothing written."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from regcore.cli import main
from regcore.image import Image
from regcore.io.nifti import write_image
from regcore.space import Grid

GRID = Grid((24, 26, 22), np.diag([2.0, 2.0, 2.0, 1.0]))
FAR = np.array(GRID.affine)
FAR[:3, 3] = 1000.0


def blob() -> np.ndarray:
    radius = np.linalg.norm((GRID.world_points() - GRID.centre) / (14, 16, 12), axis=-1)
    return (60 / (1 + np.exp(8 * (radius - 1)))).astype(np.float32)


def header(path: Path, **changes: object) -> None:
    """A copy of the blob whose header says something else."""
    image = nibabel.Nifti1Image(blob(), GRID.affine)
    nibabel.save(image, path)
    raw = bytearray(path.read_bytes())
    changed = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
    for key, value in changes.items():
        changed[key] = value
    raw[:348] = bytes(changed.binaryblock)
    path.write_bytes(bytes(raw))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good images, and every kind of bad one."""
    folder = tmp_path_factory.mktemp("bad")
    data = blob()
    write_image(folder / "good.nii", Image(data, GRID))
    write_image(folder / "constant.nii", Image(np.full_like(data, 7), GRID))
    write_image(folder / "nan.nii", Image(np.where(data > 50, np.nan, data), GRID))
    write_image(folder / "inf.nii", Image(np.where(data > 50, np.inf, data), GRID))
    write_image(folder / "far.nii", Image(data, Grid(GRID.shape, FAR)))
    write_image(folder / "flat.nii", Image(data[:, :, 11:12], GRID.crop((0, 0, 11), (24, 26, 12))))
    write_image(folder / "full_mask.nii", Image(np.ones(GRID.shape, np.uint8), GRID))
    write_image(folder / "empty_mask.nii", Image(np.zeros(GRID.shape, np.uint8), GRID))
    write_image(folder / "far_mask.nii", Image(np.ones(GRID.shape, np.uint8), Grid(GRID.shape, FAR)))
    sides = np.zeros((2, *GRID.shape), np.uint8)
    sides[0, :6], sides[1, 18:] = 1, 1
    write_image(folder / "left_mask.nii", Image(sides[0], GRID))
    write_image(folder / "right_mask.nii", Image(sides[1], GRID))
    nibabel.save(nibabel.Nifti1Image(np.stack([data, data], axis=-1), GRID.affine), folder / "series.nii")
    size = np.ones(8, np.float32)
    for name, value in (("zero_voxel", 0.0), ("negative_voxel", -2.0), ("nan_voxel", np.nan)):
        size[1] = value
        header(folder / f"{name}.nii", pixdim=size, sform_code=0, qform_code=1)
        header(folder / f"{name}_sform.nii", pixdim=size)
    header(folder / "singular.nii", srow_x=(0, 0, 0, 0))
    header(folder / "nan_affine.nii", srow_y=(np.nan, 0, 0, 0))
    write_image(folder / "labels.nii", Image((data > 30).astype(np.int32), GRID))
    write_image(folder / "other_labels.nii", Image((data > 30).astype(np.int32) * 5, GRID))
    (folder / "identity.yaml").write_text("linear: []\n")
    (folder / "singular.txt").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 1 0 0 0 1 0 0 0 0 0 0 0\nFixedParameters: 0 0 0\n"
    )
    (folder / "away.txt").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 1 0 0 0 1 0 0 0 1 500 0 0\nFixedParameters: 0 0 0\n"
    )
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("good.nii flat.nii", "expected both 2D or both 3D, found a 2D moving and a 3D fixed"),
        ("good.nii series.nii", "series.nii: expected one 2D or 3D volume"),
        ("good.nii constant.nii", "constant"),
        ("constant.nii good.nii", "constant"),
        ("good.nii nan.nii", "nan.nii: expected finite values, found NaN or infinity in"),
        ("inf.nii good.nii", "inf.nii: expected finite values, found NaN or infinity in"),
        ("good.nii good.nii --fixed-mask empty_mask.nii", "found an empty mask"),
        ("good.nii good.nii --moving-mask empty_mask.nii", "found an empty mask"),
        ("good.nii good.nii --fixed-mask far_mask.nii", "found another grid"),
        ("good.nii good.nii --moving-mask far_mask.nii", "found another grid"),
        ("good.nii good.nii --fixed-mask nan.nii", "nan.nii: expected finite values"),
        (
            "good.nii good.nii --fixed-mask left_mask.nii --moving-mask right_mask.nii",
            "masks: expected them to overlap",
        ),
        ("good.nii far.nii -s identity.yaml", "images: expected them to overlap in the world"),
        ("good.nii good.nii --initial away.txt", "images: expected them to overlap in the world"),
        ("good.nii good.nii --initial singular.txt", "expected an invertible"),
        ("good.nii zero_voxel.nii", "zero_voxel.nii: expected voxel sizes above zero, found 0 x"),
        ("negative_voxel.nii good.nii", "negative_voxel.nii: expected voxel sizes above zero, found -2"),
        ("good.nii nan_voxel.nii", "nan_voxel.nii: expected voxel sizes above zero, found nan"),
        ("good.nii zero_voxel_sform.nii", "expected voxel sizes above zero"),
        ("good.nii negative_voxel_sform.nii", "expected voxel sizes above zero"),
        ("good.nii singular.nii", "singular.nii: grid: expected an invertible affine"),
        ("good.nii nan_affine.nii", "nan_affine.nii: grid: expected a finite 4x4 affine"),
        (
            "good.nii good.nii --labels labels.nii other_labels.nii",
            "labels: expected one that both maps hold",
        ),
        ("good.nii good.nii --labels labels.nii good.nii", "good.nii: expected whole-number labels"),
        ("good.nii good.nii -p label-map", "good.nii: expected whole-number labels"),
        ("good.nii good.nii --channel good.nii good.nii", "'--channel' requires 3 arguments"),
        ("good.nii good.nii --channel good.nii good.nii heavy", "'heavy' is not a valid float"),
        ("good.nii good.nii --channel good.nii good.nii -1", "channel 1: expected a weight above zero"),
        ("good.nii good.nii --channel far.nii good.nii 1", "channel 1: expected a fixed image on the grid"),
        ("good.nii good.nii --channel good.nii constant.nii 1", "constant"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: str,
    words: str,
) -> None:
    monkeypatch.chdir(folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    # a preset of the line comes later and wins
    command = ["register", "-t", "out.h5", "-w", "out.nii.gz", "-i", "back.h5", "-q", "-p", "affine"]
    assert main([*command, *arguments.split()]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1, captured.err
    assert words in captured.err
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_images_far_apart_are_no_mistake_where_a_start_is_looked_for(folder: Path, tmp_path: Path) -> None:
    """Two scanners put their origin where they like: the centres of mass bring the images together."""
    images = [str(folder / "good.nii"), str(folder / "far.nii")]
    assert main(["register", *images, "-t", str(tmp_path / "out.txt"), "-p", "rigid", "-q"]) == 0
