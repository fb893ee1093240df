"""What the page's viewer and its table of members know: rows, sheets of slices, decisions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd
from markupsafe import Markup

from regcore.qc.data import ReportData
from regcore.qc.html import measure
from regcore.qc.interactive import cohort_plot, plot_json, script_json
from regcore.qc.outliers import member_keys
from regcore.qc.slices import Sheet, outline_sheet, sheet_of, slice_sheet, smaller
from regcore.qc.weights import MEASURES

MOST_BYTES = 40_000_000
"""Sheets of all members together: beyond it they are shrunk, so that the page stays light."""
COLUMNS = {
    "weight": "weight",
    "score": "score",
    "worst": "worst measure",
    **{name: measure.words for name, measure in MEASURES.items()},
}


@dataclass(frozen=True, eq=False)
class Viewer:
    """Contents of the page that scripts read.

    Parameters
    ----------
    data : str
        JSON with members, sheet, decisions and presets.
    sheets : list of (str, str)
        Media type and base64 of every sheet: template, outlines, then the members' in the order of `keys`.
    keys : list of str
        Members with a sheet, those to look at first.
    flagged : set of str
    columns : mapping
        Columns of the table of members, with their headings.
    plots : mapping
        Id of an element to the JSON of the plot that is drawn in it.
    """

    data: Markup
    sheets: Sequence[tuple[str, str]] = ()
    keys: Sequence[str] = ()
    flagged: set[str] = field(default_factory=set)
    columns: Mapping[str, str] = field(default_factory=dict)
    plots: dict[str, str] = field(default_factory=dict)


def judged_members(data: ReportData) -> pd.DataFrame:
    """Rows of ``qc.tsv`` with the key of each member and the overlap of its labels."""
    if data.qc is None or data.qc.empty:
        return pd.DataFrame(columns=["key", "weight", "score"])
    frame = data.qc.assign(key=member_keys(data.qc).to_numpy())
    last = data.registrations
    if last is not None and "label_dice" in last and "stage" in last:
        last = last[last["stage"] == "population"]
        frame["label_dice"] = frame["key"].map(dict(zip(member_keys(last), last["label_dice"], strict=True)))
    return frame.reset_index(drop=True)


def viewer_of(data: ReportData, judged: pd.DataFrame, flagged: set[str]) -> Viewer:
    """Everything that the page's scripts read.

    Parameters
    ----------
    data : ReportData
    judged : DataFrame
        From `judged_members`.
    flagged : set of str
        Members to look at first.
    """
    light = set(judged.loc[judged["weight"] < 1, "key"])
    flagged = flagged | light
    members = sorted(data.members, key=lambda member: (member[0] not in flagged, member[0]))
    sheet: Sheet | None = None
    sheets: list[tuple[str, str]] = []
    if data.templates and members:
        template = data.templates[-1][1]
        mask = data.template_mask
        mask = mask if mask is not None and mask.grid.matches(template.grid) else None
        sheet = sheet_of(template, mask, data.convention)
        pictures = [slice_sheet(template, sheet), outline_sheet(template, sheet, mask)]
        pictures += shrink_to_fit([content for _, content in members])
        sheets = [encoded(content) for content in pictures]
    shown = {name: words for name, words in COLUMNS.items() if name in judged and judged[name].notna().any()}
    rows = {}
    for row in judged.to_dict("records"):
        values = {name: measure(row[name], name) for name in shown}
        rows[str(row["key"])] = values | {"reason": words_of(row.get("reason"))}
    content = {
        "members": [{"key": key, "flagged": key in flagged, **rows.get(key, {})} for key, _ in members],
        "columns": shown,
        "sheet": sheet and {name: asdict(sheet)[name] for name in ("names", "sides", "positions_mm")},
        "overrides": list(data.overrides),
        "presets": list(data.presets),
    }
    plots = {}
    if not judged.empty:
        plots["cohort-plot"] = plot_json(cohort_plot(judged, data.threshold), "cohort-plot")
    keys = [key for key, _ in members]
    # no < is left in it
    text = Markup(script_json(content))  # noqa: S704 # nosec B704
    return Viewer(text, sheets, keys, flagged, shown, plots)


def words_of(value: object) -> str:
    """Text of a cell, nothing where it is missing."""
    return "" if value is None or pd.isna(value) else str(value)  # type: ignore[call-overload]


def shrink_to_fit(sheets: Sequence[bytes], most: int = MOST_BYTES) -> list[bytes]:
    """Sheets of at most `most` bytes together, all shrunk by the same factor, at most to a fifth."""
    shrunk = list(sheets)
    for share in (0.8, 0.65, 0.5, 0.4, 0.3, 0.2):
        if sum(len(sheet) for sheet in shrunk) <= most:
            break
        shrunk = [smaller(sheet, share) for sheet in sheets]
    return shrunk


def encoded(picture: bytes) -> tuple[str, str]:
    """Media type and base64 of a picture."""
    kind = "png" if picture.startswith(b"\x89PNG") else "webp"
    return f"image/{kind}", base64.b64encode(picture).decode("ascii")
