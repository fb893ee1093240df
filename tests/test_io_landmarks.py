"""Landmark files: ours read by others, theirs read by us, and what is refused."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.landmarks import read_landmarks, write_landmarks
from regcore.io.nifti import write_image
from regcore.landmarks import Landmarks
from regcore.space import Grid

POINTS = np.array(
    [[-53.388410, -73.335728, 0.0], [49.868295, -88.589559, 1204.5], [-25.227490, 55.259268, -3.5]]
)
LPS = np.array([-1.0, -1.0, 1.0])
NAMES = ("F-1", "left, upper", "Ω")
GRID = Grid((20, 22, 18), np.array([[-1.5, 0.2, 0, 30], [0.1, 1.4, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1]]))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    names=st.booleans(),
    kind=st.sampled_from([".csv", ".tsv", ".mrk.json"]),
    frame=st.sampled_from(["ras", "lps"]),
)
def test_what_is_written_is_read(tmp_path_factory, seed: int, names: bool, kind: str, frame: str) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2000, 2000, (int(rng.integers(1, 9)), 3))
    called = tuple(f"p {n}, q" for n in range(len(points))) if names else ()
    path = tmp_path_factory.mktemp("landmarks") / f"a{kind}"
    write_landmarks(path, Landmarks(points, called), frame=frame)
    read = read_landmarks(path, frame=frame)
    np.testing.assert_allclose(read.points, points, atol=1e-6)
    assert read.names == (called or tuple(str(n + 1) for n in range(len(points))))
    before = path.read_bytes()
    write_landmarks(path, Landmarks(points, called), frame=frame)
    assert path.read_bytes() == before


def test_others_read_our_tables(tmp_path: Path) -> None:
    write_landmarks(tmp_path / "a.csv", Landmarks(POINTS, NAMES), frame="lps")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(NAMES)
    found = np.array([[float(row[axis]) for axis in "xyz"] for row in rows])
    np.testing.assert_allclose(found, POINTS * LPS, atol=1e-6)
    assert "-0.000000" not in (tmp_path / "a.csv").read_text(encoding="utf-8")


def test_markups_are_as_slicer_wants_them(tmp_path: Path) -> None:
    write_landmarks(tmp_path / "a.mrk.json", Landmarks(POINTS, NAMES))
    content = json.loads((tmp_path / "a.mrk.json").read_text(encoding="utf-8"))
    assert re.search(r"markups-schema-v\d\.\d\.\d\.json#$", content["@schema"])
    (markup,) = content["markups"]
    assert (markup["type"], markup["coordinateSystem"], markup["coordinateUnits"]) == (
        "Fiducial",
        "LPS",
        "mm",
    )
    assert [point["label"] for point in markup["controlPoints"]] == list(NAMES)
    np.testing.assert_allclose([point["position"] for point in markup["controlPoints"]], POINTS * LPS)


def markups(points: list[dict[str, object]], **more: object) -> str:
    return json.dumps({"markups": [{"type": "Fiducial", "controlPoints": points, **more}]})


@pytest.mark.parametrize(("system", "signs"), [("LPS", LPS), ("RAS", 1), (None, LPS)])
def test_slicers_markups(tmp_path: Path, system: str | None, signs: np.ndarray) -> None:
    points = [{"label": "F-1", "position": [1.0, 2.0, 3.0]}, {"id": "7", "position": [4, 5, 6]}]
    more = (
        {}
        if system is None
        else {"coordinateSystem": system, "coordinateUnits": ["mm", "UCUM", "millimeter"]}
    )
    (tmp_path / "a.mrk.json").write_text(markups(points, **more))
    read = read_landmarks(tmp_path / "a.mrk.json")
    np.testing.assert_allclose(read.points, np.array([[1.0, 2, 3], [4, 5, 6]]) * signs)
    assert read.names == ("F-1", "7")


@pytest.mark.parametrize(
    ("header", "signs"),
    [
        ("# Markups fiducial file version = 4.13\n# CoordinateSystem = LPS\n", LPS),
        ("# Markups fiducial file version = 4.10\n# CoordinateSystem = 0\n", 1),
        ("# Markups fiducial file version = 4.10\n# CoordinateSystem = 1\n", LPS),
        ('"# Markups fiducial file version = 4.5",,,\n"# CoordinateSystem = RAS",,,\n', 1),
        ("# Markups fiducial file version = 4.4\n", 1),
    ],
)
def test_slicers_fcsv(tmp_path: Path, header: str, signs: np.ndarray) -> None:
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    rows = '0,-19.9,13.9,29.4,0,0,0,1,1,1,0,F-1,,\n\n1,-7.3,-76.9,17.5,0,0,0,1,1,1,0,"a, b",said,\n'
    (tmp_path / "a.fcsv").write_text(header + columns + rows)
    read = read_landmarks(tmp_path / "a.fcsv")
    np.testing.assert_allclose(read.points, np.array([[-19.9, 13.9, 29.4], [-7.3, -76.9, 17.5]]) * signs)
    assert read.names == ("F-1", "a, b")


def test_slicer_3_fcsv_and_a_table_of_ants(tmp_path: Path) -> None:
    (tmp_path / "a.fcsv").write_text("# name = F\nnose,1,2,3,1,1\n")
    assert read_landmarks(tmp_path / "a.fcsv").names == ("nose",)
    (tmp_path / "a.csv").write_text("x,y,z,t,label\n82.5,116.5,3,0,1\n137.5,35.5,4,0,2\n")
    read = read_landmarks(tmp_path / "a.csv", frame="lps")
    assert read.points.tolist() == [[-82.5, -116.5, 3], [-137.5, -35.5, 4]]
    assert read.names == ("1", "2")


def test_point_files_of_elastix(tmp_path: Path) -> None:
    (tmp_path / "point.txt").write_text("point\n2\n 1.0 2.0 3.0\n-4 5e0 6\n\n")
    assert read_landmarks(tmp_path / "point.txt").points.tolist() == [[-1, -2, 3], [4, -5, 6]]
    (tmp_path / "index.pts").write_text("index\r\n1\r\n3 4 5\r\n")
    read = read_landmarks(tmp_path / "index.pts", grid=GRID)
    np.testing.assert_allclose(read.points, GRID.to_world([[3, 4, 5]]))
    (tmp_path / "flat.txt").write_text("point\n1\n1 2\n")
    assert read_landmarks(tmp_path / "flat.txt").points.tolist() == [[-1, -2, 0]]


def test_elastix_reads_point_files_as_we_do(tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    pytest.importorskip("itk.itkTransformixFilterPython", reason="needs itk-elastix")
    affine = np.diag([-1.5, -1.4, 2.5, 1.0])
    affine[:3, 3] = [30, 20, 7]
    grid = Grid(GRID.shape, affine)
    write_image(tmp_path / "a.nii.gz", Image(np.zeros(grid.shape, np.float32), grid))
    parameters = itk.ParameterObject.New()
    parameters.AddParameterMap(
        {
            "Transform": ["TranslationTransform"],
            "NumberOfParameters": ["3"],
            "TransformParameters": ["1", "2", "3"],
            "InitialTransformParameterFileName": ["NoInitialTransform"],
            "FixedImageDimension": ["3"],
            "MovingImageDimension": ["3"],
            "FixedInternalImagePixelType": ["float"],
            "MovingInternalImagePixelType": ["float"],
            "Size": [str(n) for n in grid.shape],
            "Index": ["0", "0", "0"],
            "Spacing": ["1.5", "1.4", "2.5"],
            "Origin": ["-30", "-20", "7"],
            "Direction": ["1", "0", "0", "0", "1", "0", "0", "0", "1"],
            "ResampleInterpolator": ["FinalLinearInterpolator"],
            "Resampler": ["DefaultResampler"],
        }
    )
    for kind, row in (("index", "3 4 5"), ("point", "-20.5 7.25 10.0")):
        (tmp_path / "in.txt").write_text(f"{kind}\n1\n{row}\n")
        itk.transformix_filter(
            itk.imread(str(tmp_path / "a.nii.gz"), itk.F),
            parameters,
            fixed_point_set_file_name=str(tmp_path / "in.txt"),
            output_directory=str(tmp_path),
        )
        written = (tmp_path / "outputpoints.txt").read_text()
        point = re.search(r"InputPoint = \[ (.*?) \]", written)
        assert point is not None
        theirs = np.array(point[1].split(), float) * LPS
        np.testing.assert_allclose(read_landmarks(tmp_path / "in.txt", grid=grid).points, [theirs], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "empty file"),
        ("a.csv", "x,y\n1,2\n", "found no z"),
        ("a.csv", "x,y,z\n1,2,three\n", "found text"),
        ("a.csv", "x,y,z\n1,2,n/a\n", "missing or infinite"),
        ("a.tsv", "x\ty\tz\n", "at least one point"),
        ("a.csv", "1,2,3\n4,5,6\n", "found no x"),
        ("a.mrk.json", "{", "expected JSON"),
        ("a.mrk.json", "[1, 2]", "without any"),
        ("a.mrk.json", '{"markups": [{"type": "ROI"}]}', "control points"),
        ("a.mrk.json", markups([]), "at least one point"),
        ("a.mrk.json", markups([{"label": "A", "position": [1, 2]}]), "three coordinates of point 'A'"),
        ("a.mrk.json", markups([{"label": "A", "position": [1, 2, "x"]}]), "expected numbers"),
        ("a.mrk.json", markups([{"label": "A", "position": [1, 2, None]}]), "expected numbers"),
        ("a.mrk.json", markups([{"label": "A", "position": [1, 2, float("nan")]}]), "finite"),
        ("a.mrk.json", markups([{"label": "A", "positionStatus": "undefined"}]), "'A' that is not"),
        ("a.mrk.json", markups(["A"]), "that is not"),  # type: ignore[list-item]
        ("a.mrk.json", markups([{"position": [1, 2, 3]}], coordinateSystem="IJK"), "LPS or RAS"),
        ("a.mrk.json", markups([{"position": [1, 2, 3]}], coordinateUnits="um"), "in mm"),
        ("a.fcsv", "# CoordinateSystem = IJK\n0,1,2,3\n", "LPS or RAS, found 'IJK'"),
        ("a.fcsv", "# columns = id,a,b\n0,1,2,3\n", "columns x, y and z"),
        ("a.fcsv", "F,1,2\n", "line 1: expected at least 4 cells, found 3"),
        ("a.fcsv", "F,1,2,z\n", "expected numbers"),
        ("a.fcsv", "# nothing\n", "at least one point"),
        ("a.txt", "1 2 3\n", "first line point or index"),
        ("a.txt", "point\n", "number of points"),
        ("a.txt", "point\n3\n1 2 3\n", r"number of points \(1\) in line 2, found '3'"),
        ("a.txt", "point\n1\n1 2 3 4\n", "three numbers a point"),
        ("a.txt", "point\n1\n1 2 x\n", "point 1: expected numbers"),
        ("a.txt", "point\n1\n1 2 inf\n", "finite"),
        ("a.txt", "point\n0\n", "at least one point|three numbers"),
        ("a.txt", "index\n1\n1 2 3\n", "expected the image"),
        ("a.xyz", "1 2 3\n", "expected a name ending in"),
        ("a.json", "{}", "expected a name ending in"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_landmarks(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_written_or_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a name ending in"):
        write_landmarks(tmp_path / "a.fcsv", Landmarks(POINTS))
    with pytest.raises(InputError, match="ras or lps"):
        write_landmarks(tmp_path / "a.csv", Landmarks(POINTS), frame="ijk")
    with pytest.raises(InputError, match="nothing there"):
        read_landmarks(tmp_path / "a.csv")
    (tmp_path / "bytes.csv").write_bytes(b"x,y,z\n\xff\xfe,1,2\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_landmarks(tmp_path / "bytes.csv")
