"""Pieces of the report's page: pictures, tables, and values as text, all escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup

from regcore.qc.weights import MEASURES


def picture(data: bytes, alternative: str, style: str = "") -> Markup:
    """Image element with the picture embedded; `alternative` says what it shows to who cannot see it."""
    kind = "png" if data.startswith(b"\x89PNG") else "webp" if data[8:12] == b"WEBP" else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Markup('<img class="{}" src="{}" alt="{}">').format(style, source, alternative)


def table(frame: pd.DataFrame, most: int = 200) -> Markup:
    """HTML table; numbers to the right, rows beyond `most` counted in words."""
    numeric = {column: pd.api.types.is_numeric_dtype(frame[column]) for column in frame}
    head = Markup("").join(
        Markup('<th scope="col" class="{}">{}</th>').format(
            "n" if numeric[column] else "", heading(str(column))
        )
        for column in frame
    )
    rows = []
    for values in frame.head(most).itertuples(index=False):
        cells = (
            Markup('<td class="{}">{}</td>').format("n" if numeric[column] else "", number(value))
            for column, value in zip(frame.columns, values, strict=True)
        )
        rows.append(Markup("<tr>{}</tr>").format(Markup("").join(cells)))
    more = len(frame) - most
    note = (
        Markup('<p class="note">{} more rows are in the table on disk.</p>').format(more)
        if more > 0
        else Markup("")
    )
    body = Markup("\n").join(rows)
    whole = Markup(
        '<div class="scroll"><table class="sortable"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    )
    return whole.format(head, body) + note


def heading(column: str) -> str:
    """Column name as words, the unit in brackets.

    Examples
    --------
    >>> heading("rms_shape_update_mm"), heading("participant_id")
    ('rms shape update (mm)', 'participant')
    """
    units = {"mm": "mm", "vox": "voxel", "mm3": "mm³", "seconds": "s", "mb": "MB", "percent": "%"}
    *words, last = column.split("_")
    if words and last in units:
        return " ".join(words) + f" ({units[last]})"
    return " ".join(words) if words and last == "id" else column.replace("_", " ")


def number(value: object) -> str:
    """Value as text: four significant digits, a dash for what is missing.

    Examples
    --------
    >>> number(0.123456), number(12), number(None), number("sub-01")
    ('0.1235', '12', '–', 'sub-01')
    """
    if value is None or value is pd.NA:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        real = float(value)
        if math.isnan(real):
            return "–"
        return f"{real:,.0f}" if abs(real) >= 1e4 else f"{real:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(number(part) for part in value) + "]"
    return str(value)


def measure(value: object, name: str) -> str:
    """Value of a measure as text; the names of measures as people say them.

    Examples
    --------
    >>> measure("mask_dice", "worst"), measure(0.91234, "mask_dice"), measure(2.0, "folded_voxels")
    ('mask overlap', '0.912', '2')
    """
    if name == "worst":
        return MEASURES[str(value)].words if value in MEASURES else number(None)
    known = isinstance(value, int | float) and math.isfinite(value)
    return f"{value:.3g}" if known else number(None)


def duration(seconds: float) -> str:
    """Time as a person says it.

    Examples
    --------
    >>> duration(42), duration(754), duration(7300)
    ('42 s', '12 min 34 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def flatten(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted keys.

    Examples
    --------
    >>> flatten({"template": {"iterations": 3}})
    [('template.iterations', '3')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", number(value)))
    return rows
