"""Landmark files: tables, 3D Slicer's markups, and the point files of elastix and ITK."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.io.files import existing_file, extension
from regcore.io.tables import read_json, read_table, read_text, write_json, write_table
from regcore.landmarks import Landmarks
from regcore.space import Grid

if TYPE_CHECKING:
    import pandas

Array = npt.NDArray[np.float64]

TABLE_EXTENSIONS = (".csv", ".tsv")
MARKUPS_EXTENSION = ".mrk.json"
WRITTEN_EXTENSIONS = (*TABLE_EXTENSIONS, MARKUPS_EXTENSION)
READ_EXTENSIONS = (*WRITTEN_EXTENSIONS, ".fcsv", ".txt", ".pts")
FRAMES: dict[str, Array] = {"ras": np.ones(3), "lps": np.array([-1.0, -1.0, 1.0])}
NAME_COLUMNS = ("name", "label", "landmark")
SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
# columns of files that do not say theirs: Slicer 3
FCSV_COLUMNS: tuple[str, ...] = ("label", "x", "y", "z")
SLICER_FRAMES = {"0": "ras", "ras": "ras", "1": "lps", "lps": "lps"}


def read_landmarks(
    path: str | os.PathLike[str], *, frame: str = "ras", grid: Grid | None = None
) -> Landmarks:
    """Read landmarks in world RAS+ mm.

    Parameters
    ----------
    path : path
        ``.csv``, ``.tsv``: a table with the columns x, y, z (mm) and, if there are names, name, label or
        landmark. ``.mrk.json``, ``.fcsv``: markups of 3D Slicer, LPS or RAS as the file says.
        ``.txt``, ``.pts``: a point file of elastix or ITK, ``point`` (LPS mm) or ``index`` (voxels); two
        numbers a line lie in the plane z = 0.
    frame : {"ras", "lps"}
        Axes of a table; all other files say theirs.
    grid : Grid, optional
        Grid of the image that an ``index`` file counts in.

    Returns
    -------
    Landmarks

    Raises
    ------
    InputError
        If the file is missing, damaged, of another kind, or holds no point or one that is not finite.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_landmarks(Path(folder) / "a.mrk.json", Landmarks(np.array([[1.0, 2, 3]]), ("tip",)))
    ...     back = read_landmarks(Path(folder) / "a.mrk.json")
    >>> back.points.tolist(), back.names
    ([[1.0, 2.0, 3.0]], ('tip',))
    """
    path = existing_file(path)
    kind = _kind(path, READ_EXTENSIONS)
    if kind in TABLE_EXTENSIONS:
        table = read_table(path)
        points, names = table_points(path, table, frame), _table_names(table)
    elif kind == MARKUPS_EXTENSION:
        points, names = _markups(path)
    elif kind == ".fcsv":
        points, names = _fcsv(path)
    else:
        points, names = _point_file(path, grid), ()
    try:
        return Landmarks(points, names)
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix('landmarks: ')}") from None


def write_landmarks(path: str | os.PathLike[str], landmarks: Landmarks, *, frame: str = "ras") -> None:
    """Write landmarks, whole or not at all; the same landmarks give the same bytes.

    Parameters
    ----------
    path : path
        ``.csv`` or ``.tsv`` with the columns name, x, y, z (mm, six decimals), or ``.mrk.json`` for 3D
        Slicer (LPS).
    landmarks : Landmarks
        Those without a name are called by their number, from 1.
    frame : {"ras", "lps"}
        Axes of a table.

    Raises
    ------
    InputError
        If the name ends in anything else.
    """
    path = Path(path)
    kind = _kind(path, WRITTEN_EXTENSIONS)
    names = landmarks.names or tuple(str(number) for number in range(1, len(landmarks) + 1))
    if kind in TABLE_EXTENSIONS:
        import pandas

        table = pandas.DataFrame({"name": names, **dict.fromkeys("xyz", "")})
        write_table(path, with_points(table, landmarks.points, frame))
        return
    # adding 0 turns -0.0 into 0.0
    lps = landmarks.points * FRAMES["lps"] + 0.0
    points = [
        {"id": str(number), "label": name, "position": point, "positionStatus": "defined"}
        for number, (name, point) in enumerate(zip(names, lps.tolist(), strict=True), start=1)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}
    write_json(path, {"@schema": SCHEMA, "markups": [markup]})


def table_points(path: str | os.PathLike[str], table: pandas.DataFrame, frame: str = "ras") -> Array:
    """Points (N, 3) of the columns x, y and z of a table, world RAS+ mm.

    Raises
    ------
    InputError
        If a column is missing, or holds anything but finite numbers.

    Examples
    --------
    >>> import pandas
    >>> table_points("points.csv", pandas.DataFrame({"x": [1], "y": [2], "z": [3]}), "lps")
    array([[-1., -2.,  3.]])
    """
    missing = [axis for axis in "xyz" if axis not in table.columns]
    if missing:
        raise InputError(f"{path}: expected the columns x, y and z, found no {missing[0]}")
    try:
        points = table[list("xyz")].to_numpy(np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{path}: expected numbers in x, y and z, found text") from None
    if not np.isfinite(points).all():
        raise InputError(f"{path}: expected finite numbers in x, y and z, found a missing or infinite one")
    return np.asarray(points * _signs(frame))


def with_points(table: pandas.DataFrame, points: Array, frame: str = "ras") -> pandas.DataFrame:
    """A table with the columns x, y and z replaced by world RAS+ points, six decimals."""
    # adding 0 turns -0.0 into 0.0
    columns = (np.round(points * _signs(frame), 6) + 0.0).T
    return table.assign(
        **{axis: [f"{value:.6f}" for value in column] for axis, column in zip("xyz", columns, strict=True)}
    )


def _signs(frame: str) -> Array:
    if frame not in FRAMES:
        raise InputError(f"frame: expected ras or lps, found {frame!r}")
    return FRAMES[frame]


def _kind(path: Path, known: Sequence[str]) -> str:
    kind = MARKUPS_EXTENSION if path.name.lower().endswith(MARKUPS_EXTENSION) else extension(path)
    if kind not in known:
        raise InputError(f"{path}: expected a name ending in {', '.join(known)}, found {kind!r}")
    return kind


def _table_names(table: pandas.DataFrame) -> tuple[str, ...]:
    for column in NAME_COLUMNS:
        if column in table.columns and table[column].notna().all():
            return tuple(str(name) for name in table[column])
    return ()


def _markups(path: Path) -> tuple[Array, tuple[str, ...]]:
    content = read_json(path)
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or not markups:
        raise InputError(f"{path}: expected markups of 3D Slicer, found JSON without any")
    points: list[Array] = []
    names: list[str] = []
    for markup in markups:
        if not isinstance(markup, dict) or not isinstance(markup.get("controlPoints"), list):
            raise InputError(f"{path}: expected control points in every markup, found one without")
        system = str(markup.get("coordinateSystem", "LPS"))
        if system.lower() not in SLICER_FRAMES:
            raise InputError(f"{path}: expected the coordinate system LPS or RAS, found {system!r}")
        unit = markup.get("coordinateUnits", "mm")
        if (unit[0] if isinstance(unit, list) and unit else unit) != "mm":
            raise InputError(f"{path}: expected coordinates in mm, found {unit!r}")
        for point in markup["controlPoints"]:
            name = (
                str(point.get("label") or point.get("id") or len(names) + 1)
                if isinstance(point, dict)
                else "?"
            )
            points.append(_position(path, point, name) * FRAMES[SLICER_FRAMES[system.lower()]])
            names.append(name)
    return _stacked(points), tuple(names)


def _position(path: Path, point: Any, name: str) -> Array:
    position = point.get("position") if isinstance(point, dict) else None
    if not isinstance(point, dict) or point.get("positionStatus", "defined") != "defined":
        raise InputError(f"{path}: expected every point to be placed, found {name!r} that is not")
    if not isinstance(position, list) or len(position) != 3:
        raise InputError(f"{path}: expected three coordinates of point {name!r}, found {position!r}")
    return _numbers(f"{path}, point {name!r}", position)


def _fcsv(path: Path) -> tuple[Array, tuple[str, ...]]:
    frame, columns = "ras", FCSV_COLUMNS
    points: list[Array] = []
    names: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        if line.lstrip('"').startswith("#"):
            key, _, value = line.strip('"#, \t').partition("=")
            if key.strip() == "CoordinateSystem":
                system = value.strip(' ,"').lower()
                if system not in SLICER_FRAMES:
                    raise InputError(
                        f"{path}: expected the coordinate system LPS or RAS, found {value.strip()!r}"
                    )
                frame = SLICER_FRAMES[system]
            elif key.strip() == "columns":
                columns = tuple(name.strip(' "') for name in value.split(","))
            continue
        if not set("xyz") <= set(columns):
            raise InputError(f"{path}: expected the columns x, y and z, found {', '.join(columns)}")
        cells = next(csv.reader([line]))
        row = dict(zip(columns, cells, strict=False))
        if len(cells) < 4 or not set("xyz") <= set(row):
            raise InputError(
                f"{path}, line {number}: expected at least {len(FCSV_COLUMNS)} cells, found {len(cells)}"
            )
        points.append(_numbers(f"{path}, line {number}", [row[axis] for axis in "xyz"]))
        names.append(row.get("label") or row.get("id") or str(len(points)))
    return _stacked(points) * FRAMES[frame], tuple(names)


def _point_file(path: Path, grid: Grid | None) -> Array:
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    kind = lines[0].strip().lower() if lines else ""
    if kind not in ("point", "index"):
        raise InputError(f"{path}: expected the first line point or index, found {kind[:40]!r}")
    count = lines[1].strip() if len(lines) > 1 else ""
    if not count.isdigit() or int(count) != len(lines) - 2:
        raise InputError(
            f"{path}: expected the number of points ({len(lines[2:])}) in line 2, found {count[:40]!r}"
        )
    rows = [_numbers(f"{path}, point {n}", line.split()) for n, line in enumerate(lines[2:], start=1)]
    sizes = {row.size for row in rows}
    if len(sizes) > 1 or not sizes <= {2, 3}:
        raise InputError(f"{path}: expected three numbers a point (two in 2D), found {sorted(sizes)}")
    values = _stacked([np.append(row, np.zeros(3 - row.size)) for row in rows])
    if kind == "point":
        return np.asarray(values * FRAMES["lps"])
    if grid is None:
        raise InputError(f"{path}: expected the image that its voxel indices count in, found none")
    return grid.to_world(values)


def _numbers(where: str, cells: Sequence[Any]) -> Array:
    try:
        return np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        shown = " ".join(str(cell) for cell in cells)[:40]
        raise InputError(f"{where}: expected numbers, found {shown!r}") from None


def _stacked(points: list[Array]) -> Array:
    return np.stack(points) if points else np.zeros((0, 3))
