"""The command line from outside: what it writes, what it says, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from regcore.cli import main
from regcore.image import Image
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.nifti_writer import decimals_of_range
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Displacement

GRID = Grid((24, 26, 22), np.diag([2.0, 2.0, 2.0, 1.0]))
SHIFT = Affine.from_parameters(translation=(4.0, -2.0, 2.0))


def blob(shift: Affine | None = None, axes_mm: tuple[int, int, int] = (14, 16, 12)) -> Image:
    """An ellipsoid with a bright core, as it looks after `shift`."""
    points = GRID.world_points() if shift is None else shift.inverse()(GRID.world_points())
    radius = np.sqrt((((points - GRID.centre) / axes_mm) ** 2).sum(axis=-1))
    values = 60 / (1 + np.exp(8 * (radius - 1))) + 40 * np.exp(-8 * radius**2)
    return Image(values.astype(np.float32), GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, labels and transforms to work on."""
    folder = tmp_path_factory.mktemp("cli")
    fixed, moving = blob(), blob(SHIFT)
    write_image(folder / "fixed.nii.gz", fixed)
    write_image(folder / "moving.nii.gz", moving)
    write_image(folder / "longer.nii.gz", blob(SHIFT, (16, 15, 12)))
    write_image(folder / "constant.nii.gz", Image(np.ones(GRID.shape, np.float32), GRID))
    for name, image in (("fixed", fixed), ("moving", moving)):
        labels = (image.data > 30).astype(np.int32) * 7 + (image.data > 75) * 2000
        write_image(folder / f"{name}_labels.nii.gz", Image(labels.astype(np.int32), GRID))
    write_transform(folder / "shift.txt", SHIFT)
    bump = np.zeros((*GRID.shape, 3), np.float32)
    bump[6:18, 6:20, 6:16] = 0.3
    write_transform(folder / "bump.h5", Displacement(bump, GRID))
    (folder / "points.tsv").write_text("name\tx\ty\tz\nfirst\t1\t2\t3\nsecond\t10.5\t-4\t0\n")
    return folder


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from regcore.cli import main; main(['register', '--help']);"
        "main(['landmarks', 'match', '--help']);"
        "heavy = ('numpy', 'numba', 'pandas', 'nibabel', 'matplotlib', 'scipy');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--preset" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_register_writes_what_it_was_asked_for(folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "linear: [{model: rigid, shrink: [2], iterations: [40], rotations_deg: 0}]\n"
        "deformable: {metric: ssd, shrink: [2, 1], iterations: [20, 10]}\n"
    )
    names = ["xfm.h5", "inverse.h5", "warped.nii.gz"]
    xfm, inverse, warped = (str(tmp_path / name) for name in names)
    images = [str(folder / "fixed.nii.gz"), str(folder / "longer.nii.gz")]
    code = main(["register", *images, "-t", xfm, "-i", inverse, "-w", warped, "-s", str(settings), "-q"])
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "settings.yaml", "xfm.json"])
    centre = GRID.centre
    assert np.abs(read_transform(xfm)(centre) - SHIFT(centre)).max() < 0.3
    assert np.abs(read_transform(inverse)(SHIFT(centre)) - centre).max() < 0.4
    difference = read_image(warped).data - blob().data
    assert np.abs(difference[4:-4, 4:-4, 4:-4]).mean() < 1.0
    report = json.loads((tmp_path / "xfm.json").read_text())
    assert report["Quality"]["similarity_after"] > report["Quality"]["similarity_before"]
    assert report["Quality"]["folded_voxels"] == 0
    assert report["Settings"]["linear"][0]["model"] == "rigid"


def test_progress_in_a_log_is_plain_lines(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = [str(folder / "fixed.nii.gz"), str(folder / "moving.nii.gz")]
    assert main(["register", *images, "-t", str(tmp_path / "x.txt"), "-p", "rigid"]) == 0
    out, err = capfd.readouterr()
    assert err.startswith("rigid level 0 iteration ")
    assert "\x1b" not in err + out
    assert out.startswith("similarity ")


def test_every_iteration_shows_the_parts_of_its_energy(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "linear: []\ndeformable: {metric: ssd, model: velocity, regulariser: elastic, lame_lambda: 0.5,"
        " regularisation_weight: 0.01, shrink: [2], iterations: [3]}\n"
    )
    images = [str(folder / "fixed.nii.gz"), str(folder / "longer.nii.gz")]
    assert main(["register", *images, "-t", str(tmp_path / "x.h5"), "-s", str(settings)]) == 0
    assert re.search(r"iteration 1 energy \d\.\d+ = \d\.\d+ \+ 0\.01 \* \d\.\d+\n", capfd.readouterr().err)
    for row in json.loads((tmp_path / "x.json").read_text())["Iterations"]:
        parts = row["data_term"] + row["regularisation_weight"] * row["regulariser_term"]
        assert row["energy"] == pytest.approx(parts)


def test_apply_to_an_image_and_to_labels(folder: Path, tmp_path: Path) -> None:
    common = ["-r", str(folder / "fixed.nii.gz"), "-t", str(folder / "shift.txt")]
    image, labels = tmp_path / "image.nii.gz", tmp_path / "labels.nii.gz"
    assert main(["apply", str(folder / "moving.nii.gz"), str(image), *common]) == 0
    assert main(["apply", str(folder / "moving_labels.nii.gz"), str(labels), *common, "--labels"]) == 0
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(read_image(image).data[inner], blob().data[inner], atol=1e-3)
    reference = read_labels(folder / "fixed_labels.nii.gz").data
    assert np.array_equal(read_labels(labels).data[inner], reference[inner])
    # what is written is rounded to a hundred thousandth of its range
    exact = resample(
        read_image(folder / "moving.nii.gz"),
        blob().grid,
        read_transform(folder / "shift.txt"),
    ).data
    written = read_image(image).data
    steps = written.astype(np.float64) * 10 ** decimals_of_range(exact)
    np.testing.assert_allclose(steps, np.rint(steps), atol=0.05)
    assert 0 < np.abs(written - exact).max() <= 1e-5 * np.ptp(exact)


def test_inverse_option_undoes_the_transform(folder: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "there.tsv", tmp_path / "back.tsv"
    bump = ["-t", str(folder / "bump.h5")]
    assert main(["apply", str(folder / "points.tsv"), str(there), *bump]) == 0
    assert main(["apply", str(there), str(back), *bump, "--inverse"]) == 0
    columns = ["x", "y", "z"]
    first, second = (pandas.read_csv(path, sep="\t")[columns] for path in (folder / "points.tsv", back))
    assert np.abs(first.to_numpy() - second.to_numpy()).max() < 0.05


@pytest.mark.parametrize(("frame", "expected"), [("ras", [5, 0, 5]), ("lps", [-3, 4, 5])])
def test_points_go_the_way_of_the_transform(
    folder: Path, tmp_path: Path, frame: str, expected: list[float]
) -> None:
    output = tmp_path / "mapped.tsv"
    command = ["apply", str(folder / "points.tsv"), str(output), "-t", str(folder / "shift.txt")]
    assert main([*command, "--frame", frame]) == 0
    table = pandas.read_csv(output, sep="\t")
    assert list(table["name"]) == ["first", "second"]
    assert table.loc[0, ["x", "y", "z"]].tolist() == expected


def test_compose_and_invert_keep_order(folder: Path, tmp_path: Path) -> None:
    shift, bump = str(folder / "shift.txt"), str(folder / "bump.h5")
    composed, inverted, single = (str(tmp_path / name) for name in ("c.h5", "i.txt", "s.h5"))
    reference = ["-r", str(folder / "fixed.nii.gz")]
    assert main(["compose", shift, bump, "-o", composed]) == 0
    assert main(["compose", shift, bump, "-o", single, *reference]) == 0
    assert main(["invert", shift, inverted]) == 0
    points = GRID.to_world([[8, 9, 10], [3, 3, 3]])
    expected = SHIFT(read_transform(bump)(points))
    np.testing.assert_allclose(read_transform(composed)(points), expected, atol=1e-4)
    np.testing.assert_allclose(read_transform(single)(points), expected, atol=1e-3)
    np.testing.assert_allclose(read_transform(inverted)(SHIFT(points)), points, atol=1e-9)


def test_jacobian_of_a_growth(folder: Path, tmp_path: Path) -> None:
    larger, absolute, relative = (tmp_path / name for name in ("larger.txt", "abs.nii.gz", "rel.nii.gz"))
    write_transform(larger, Affine(np.diag([1.1, 1.1, 1.1, 1.0])))
    common = ["-r", str(folder / "fixed.nii.gz"), "-t", str(larger)]
    assert main(["jacobian", str(absolute), *common]) == 0
    assert main(["jacobian", str(relative), *common, "--relative"]) == 0
    np.testing.assert_allclose(read_image(absolute).data, 3 * np.log(1.1), atol=1e-4)
    np.testing.assert_allclose(read_image(relative).data, 0, atol=1e-4)


def test_average_counts_only_covered_voxels(tmp_path: Path) -> None:
    half = GRID.crop((0, 0, 0), (12, 26, 22))
    whole, part, output = (tmp_path / name for name in ("whole.nii.gz", "part.nii.gz", "mean.nii.gz"))
    write_image(whole, Image(np.full(GRID.shape, 2, np.float32), GRID))
    write_image(part, Image(np.full(half.shape, 4, np.float32), half))
    assert main(["average", str(whole), str(part), "-o", str(output)]) == 0
    mean = read_image(output).data
    assert mean[5, 5, 5] == pytest.approx(3)
    assert mean[20, 5, 5] == pytest.approx(2)


def test_overlap_prints_or_writes_a_table(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = str(folder / "fixed_labels.nii.gz")
    assert main(["overlap", labels, labels]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split("\t")[:3] == ["label", "structure", "dice"]
    assert [line.split("\t")[2] for line in printed[1:]] == ["1"] * (len(printed) - 1)
    output = tmp_path / "overlap.tsv"
    assert main(["overlap", labels, str(folder / "moving_labels.nii.gz"), "-o", str(output)]) == 0
    assert pandas.read_csv(output, sep="\t")["dice"].between(0, 1).all()


def test_info_describes_images_and_transforms(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", *(str(folder / name) for name in ("fixed.nii.gz", "shift.txt", "bump.h5"))]) == 0
    out = capsys.readouterr().out
    for expected in ("24 x 26 x 22", "2 x 2 x 2 mm", "RAS", "4.000 -2.000 2.000 mm", "0 folded voxels"):
        assert expected in out


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("info missing.nii.gz", "missing.nii.gz"),
        ("register fixed.nii.gz moving.nii.gz -t out.png", "out.png"),
        ("register fixed.nii.gz moving.nii.gz -t out.txt", "out.txt"),
        ("register fixed.nii.gz constant.nii.gz -t out.h5 -q", "constant"),
        ("register fixed.nii.gz moving.nii.gz -t out.h5 -p fancy", "fancy"),
        ("register fixed.nii.gz moving.nii.gz -t out.h5 -s points.tsv", "points.tsv"),
        ("apply moving.nii.gz out.nii.gz -t shift.txt", "--reference"),
        ("apply moving.nii.gz moving.nii.gz -r fixed.nii.gz -t shift.txt", "moving.nii.gz"),
        ("apply moving.nii.gz out.nii.gz -r fixed.nii.gz -t points.tsv", "points.tsv"),
        ("apply points.tsv out.nii.gz -t shift.txt", "out.nii.gz"),
        ("compose shift.txt bump.h5 -o out.txt", "out.txt"),
        ("jacobian out.nii.gz -t shift.txt", "--reference"),
        ("bogus", "bogus"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    named: str,
) -> None:
    monkeypatch.chdir(folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert named in captured.err
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
