"""Tables, JSON, YAML and text on disk, written whole or not at all, the same values giving the same bytes."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import stat
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regcore.errors import InputError, reason
from regcore.io.atomic import atomic_path
from regcore.io.limits import LARGEST_TEXT_BYTES, largest_image_bytes

if TYPE_CHECKING:
    import pandas

MISSING = "n/a"
FLOAT_FORMAT = "%.6g"
# a column of a file needs a few hundred bytes for each row and cell
MOST_ROWS = 1_000_000
MOST_CELLS = 10_000_000
LARGEST_YAML_BYTES = 2**20
MOST_YAML_VALUES = 100_000
# a table has more text than a person writes: that of 10,000 members holds a row a structure
TABLE_SHARE = 16
# what a spreadsheet takes for a formula, unless it is a number
FORMULA = re.compile(r"[=@]|[+-](?!$)(?!(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$)")
BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
UNDESCRIBED = {"Description": "Carried over from the table of the cohort."}


def separator(path: str | os.PathLike[str]) -> str:
    """Column separator that the extension of a table promises: tab, or a comma for ``.csv``."""
    return "," if Path(path).suffix.lower() == ".csv" else "\t"


def read_text(path: str | os.PathLike[str], largest_bytes: int = LARGEST_TEXT_BYTES) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Raises
    ------
    InputError
        If the file is missing, no ordinary file, not UTF-8, or larger than `largest_bytes`.
    """
    path = Path(path)
    try:
        status = path.stat()
        # a pipe or a device has no size and may never end
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: expected a file of text, found a folder or a device")
        if status.st_size > largest_bytes:
            raise InputError(
                f"{path}: expected at most {largest_bytes} bytes of text, found {status.st_size}"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, found byte {error.start} that is not") from error
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, found none ({error.strerror})") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file, whole or not at all, lines ending as given."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If the file is missing or not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: expected JSON, found {error.msg} in line {error.lineno}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found {reason(error)}") from error


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write a JSON file; NumPy numbers, arrays and paths are converted, NaN and infinity become null.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "a.json", {"mean": np.float32(0.5), "worst": float("nan")})
    ...     read_json(Path(folder) / "a.json")
    {'mean': 0.5, 'worst': None}
    """
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    InputError
        If the file is missing, not YAML, or holds anything but keys with values.
    """
    import yaml

    text = read_text(path, LARGEST_YAML_BYTES)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected YAML, found a damaged file ({_yaml_reason(error)})") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: expected YAML, found {reason(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys with values, found {type(content).__name__}")
    if _count_values(content, MOST_YAML_VALUES) < 0:
        raise InputError(
            f"{path}: expected at most {MOST_YAML_VALUES} values, found more (anchors that repeat others?)"
        )
    return content


def _yaml_reason(error: Exception) -> str:
    """What is wrong, and where, in one line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    said = str(problem or reason(error))
    return said if mark is None else f"{said}, line {mark.line + 1}"


def _count_values(content: Any, left: int) -> int:
    """How many more values there may be, below zero if there are too many; what stands twice counts twice."""
    waiting = [content]
    while waiting and left >= 0:
        value = waiting.pop()
        left -= 1
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()] if len(value) <= left else [None] * (left + 1)
        elif isinstance(value, list | tuple | set):
            waiting += value
    return left


def read_rows(path: str | os.PathLike[str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns of a table, and line number and text of each row that is not blank.

    The csv module and not pandas, because a workflow reads its cohort at the start of every job.

    Raises
    ------
    InputError
        If the file is missing, not a table, too large for one, or has a column twice.
    """
    text = read_text(path)
    rows_found, cells_found = text.count("\n"), text.count("\n") + text.count(separator(path))
    if rows_found > MOST_ROWS or cells_found > MOST_CELLS:
        raise InputError(
            f"{path}: expected at most {MOST_ROWS} rows and {MOST_CELLS} cells, found {rows_found} rows and "
            f"{cells_found} cells"
        )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator(path))
    try:
        columns = [name.strip() for name in next(reader, [])]
        if not any(columns):
            raise InputError(f"{path}: expected a table with a header row, found an empty file")
        if len(set(columns)) < len(columns) or "" in columns:
            raise InputError(f"{path}: expected each column named once, found {', '.join(columns)}")
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                raise InputError(
                    f"{path}, line {reader.line_num}: expected {len(columns)} cells, found {len(cells)}"
                )
            rows.append((reader.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=True))))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: expected a table, found {error}") from error
    return columns, rows


def require_columns(path: str | os.PathLike[str], columns: Sequence[str], wanted: Iterable[str]) -> None:
    """Refuse a table that lacks a column."""
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise InputError(f"{path}: expected the column {missing[0]}, found {', '.join(columns)}")


def read_table(path: str | os.PathLike[str]) -> pandas.DataFrame:
    """Read a TSV or CSV file with a header row.

    Columns whose name ends in ``_id`` stay text, so that ``007`` keeps its zeros; ``n/a`` and empty cells are
    missing values.

    Parameters
    ----------
    path : path
        ``.csv`` is split at commas, everything else at tabs.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        If the file is missing, not a table, or has a column twice.
    """
    import pandas

    parser_errors = (pandas.errors.ParserError, pandas.errors.ParserWarning)
    text = read_text(path, largest_image_bytes() // TABLE_SHARE)
    header = text.splitlines()[0].split(separator(path)) if text.strip() else []
    columns = [name.strip().strip('"') for name in header]
    if not columns:
        raise InputError(f"{path}: expected a table with a header row, found an empty file")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}: expected each column once, found {', '.join(twice)} more than once")
    try:
        with warnings.catch_warnings():
            # a row that is longer than the header would lose its last cells
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            return pandas.read_csv(
                io.StringIO(text),
                sep=separator(path),
                names=columns,
                header=0,
                index_col=False,
                dtype={name: "str" for name in columns if name.endswith("_id")},
                # the name of a structure or a site may be "NA" or "None"
                keep_default_na=False,
                na_values=["", MISSING, "NaN", "nan"],
            )
    except (ValueError, OverflowError, MemoryError, *parser_errors) as error:
        raise InputError(
            f"{path}: expected a table of {len(columns)} columns, found {reason(error)}"
        ) from error


def cell(value: Any) -> Any:
    """Text as it may stand in a table: in one line, and no formula for a spreadsheet.

    Text that begins with ``=``, ``@``, or with ``+`` or ``-`` without being a number, gets an apostrophe
    before it, by which spreadsheets know text. Everything else stays as it is.

    Examples
    --------
    >>> cell("=1+1"), cell("-1.5"), cell("-cmd"), cell("left\\thippocampus"), cell(3)
    ("'=1+1", '-1.5', "'-cmd", 'left hippocampus', 3)
    """
    if not isinstance(value, str):
        return value
    value = BREAKS.sub(" ", value)
    return f"'{value}" if FORMULA.match(value) else value


def write_table(
    path: str | os.PathLike[str],
    frame: pandas.DataFrame,
    dictionary: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a table as TSV (or CSV), and a JSON data dictionary of its columns beside it.

    Parameters
    ----------
    path : path
        ``.tsv`` or ``.csv``; the dictionary has the same name ending in ``.json``.
    frame : DataFrame
        Its index is not written. Floats get six significant digits, missing values ``n/a``. Text goes through
        `cell`.
    dictionary : mapping of column to mapping, optional
        BIDS data dictionary: ``{"volume_mm3": {"Description": ..., "Units": "mm^3"}}``. A column without an
        entry is described as carried over from the cohort's table. None writes no dictionary.

    Examples
    --------
    >>> import pandas, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "ages.tsv"
    ...     write_table(path, pandas.DataFrame({"participant_id": ["sub-01"], "age": [38.78]}),
    ...                 {"age": {"Description": "Age at the scan", "Units": "year"}})
    ...     path.read_text()
    'participant_id\\tage\\nsub-01\\t38.78\\n'
    """
    texts = frame.select_dtypes(exclude=["number", "bool"])
    frame = frame.assign(**{str(name): texts[name].map(cell) for name in texts})
    frame = frame.rename(columns=cell)
    text = frame.to_csv(
        sep=separator(path), index=False, na_rep=MISSING, float_format=FLOAT_FORMAT, lineterminator="\n"
    )
    if dictionary is not None:
        described = {str(name): dict(dictionary.get(str(name), UNDESCRIBED)) for name in frame.columns}
        # dictionary first: whoever finds the table finds its dictionary too
        write_json(Path(path).with_suffix(".json"), described)
    write_text(path, text)


def _plain(content: Any) -> Any:
    """The same content in the types that JSON knows."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, np.ndarray | np.generic):
        return _plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, os.PathLike):
        return os.fspath(content)
    return content
