"""Plots that answer to the pointer: every member in every measure, linked to the viewer and the table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd
from bokeh.embed import json_item
from bokeh.layouts import gridplot
from bokeh.model import Model
from bokeh.models import ColumnDataSource, HoverTool, Span
from bokeh.plotting import figure

from regcore.qc.plots import BLUE, INK, MUTED, VERMILION
from regcore.qc.weights import MEASURES

COLUMNS = 3
HEIGHT_PX = 190
MANY = 80
"""Members beyond which points are drawn smaller, and participants beyond which lines are left out."""
MOST_PANELS = 12
SOURCE = "members"
"""Name of the data that the page listens to: a selected point opens its member."""


def bokeh_script() -> str:
    """BokehJS as it comes with the library, to be put into the page."""
    folder = resources.files("bokeh") / "server" / "static" / "js"
    return (folder / "bokeh.min.js").read_text(encoding="utf-8")


def plot_json(model: Model, target: str) -> str:
    """A plot for the page's scripts, to be drawn in the element with the id `target`."""
    return script_json(json_item(model, target))


def script_json(content: object) -> str:
    """JSON that cannot end the script element it stands in.

    Examples
    --------
    >>> script_json({"name": "</script>"})
    '{"name":"\\\\u003c/script>"}'
    """
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def cohort_plot(frame: pd.DataFrame, threshold: float) -> Model:
    """A panel a measure, a point a member; the same members are marked in all of them.

    Parameters
    ----------
    frame : DataFrame
        A row a member: `key`, `score`, `weight` and any of the `MEASURES`.
    threshold : float
        Score beyond which a member is an outlier; drawn in the panel of the scores.
    """
    outlying = (frame["score"] > threshold) | (frame["weight"] < 1)
    names = ["score", *(name for name in MEASURES if name in frame and varies(frame[name]))]
    columns = {name: pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64) for name in names}
    size = 7 if len(frame) <= MANY else 5
    source = ColumnDataSource(
        {
            "key": frame["key"].astype(str).tolist(),
            "number": np.arange(1, len(frame) + 1),
            "weight": frame["weight"].to_numpy(np.float64),
            "colour": [VERMILION if far else BLUE for far in outlying],
            # never by colour alone
            "marker": ["triangle" if far else "circle" for far in outlying],
            "size": [size + 3 if far else size for far in outlying],
            **columns,
        },
        name=SOURCE,
    )
    panels = [panel(source, name, threshold if name == "score" else None) for name in names]
    return in_rows(panels)


def in_rows(panels: Sequence[figure]) -> Model:
    """Panels side by side, with one set of tools that shows when it is needed."""
    rows = [list(panels[start : start + COLUMNS]) for start in range(0, len(panels), COLUMNS)]
    grid = gridplot(rows, sizing_mode="stretch_width", merge_tools=True, toolbar_location="right")
    grid.toolbar.logo = None
    grid.toolbar.autohide = True
    return grid


def histogram_plot(histograms: pd.DataFrame, label: str) -> Model:
    """Cumulative volume histograms: a panel a structure, a line a participant.

    Parameters
    ----------
    histograms : DataFrame
        Rows `participant_id`, `segmentation`, `structure`, `value`, `volume_share`. The structures that
        reach the largest values are shown, at most `MOST_PANELS`, of at most `MANY` participants that do.
    label : str
        What the values are.
    """
    frame = histograms[histograms["volume_share"] > 0]
    reach = frame.groupby("participant_id")["value"].max().nlargest(MANY)
    frame = frame[frame["participant_id"].isin(reach.index)]
    places = ["segmentation", "structure"]
    order = frame.groupby(places, sort=False)["value"].max().nlargest(MOST_PANELS).index
    # one scale for all, so that panels can be compared
    end = max(float(frame["value"].max()), 1e-9)
    several = frame["segmentation"].nunique() > 1
    panels = []
    for kind, name in order:
        rows = frame[(frame["segmentation"] == kind) & (frame["structure"] == name)]
        lines = {str(key): each for key, each in rows.groupby("participant_id")}
        source = ColumnDataSource(
            {
                "key": list(lines),
                "value": [[*each["value"].round(5), float(each["value"].max())] for each in lines.values()],
                "share": [[*(100 * each["volume_share"]).round(2), 0.0] for each in lines.values()],
            }
        )
        title = f"{name} ({kind})" if several else str(name)
        drawn = figure(
            height=HEIGHT_PX, tools="box_zoom,reset", active_drag=None, title=title, x_range=(0, end),
            y_range=(0, 103), sizing_mode="stretch_width", min_border_left=52,
        )  # fmt: skip
        drawn.multi_line(
            "value", "share", source=source, line_color=BLUE, line_alpha=0.6, line_width=1.4,
            hover_line_color=VERMILION, hover_line_alpha=1.0,
        )  # fmt: skip
        hover = [("", "@key"), (label, "$x{0.[000]}"), ("volume", "$y{0.[0]} %")]
        drawn.add_tools(HoverTool(tooltips=hover, mode="mouse"))
        dress(drawn)
        drawn.xaxis.minor_tick_line_color = None
        drawn.xaxis.axis_label, drawn.yaxis.axis_label = label, "volume (%)"
        panels.append(drawn)
    return in_rows(panels)


def varies(values: pd.Series[float]) -> bool:
    """Whether there is anything to see in a plot of these values."""
    finite = pd.to_numeric(values, errors="coerce").dropna()
    return bool(len(finite)) and float(finite.max() - finite.min()) > 1e-9


def panel(source: ColumnDataSource, name: str, threshold: float | None) -> figure:
    """One measure of all members in the order of the cohort."""
    words = "score (robust SD)" if name == "score" else MEASURES[name].words
    drawn = figure(
        height=HEIGHT_PX,
        tools="tap,box_zoom,reset",
        active_tap="tap",
        active_drag=None,
        title=words,
        sizing_mode="stretch_width",
        min_border_left=52,
    )
    drawn.scatter(
        "number", name, source=source, size="size", color="colour", marker="marker", alpha=0.8,
        nonselection_alpha=0.3, selection_alpha=1.0, selection_line_color=INK, line_width=2,
    )  # fmt: skip
    hover = [("", "@key"), (words, f"@{name}{{0.[00000]}}"), ("weight", "@weight{0.00}")]
    drawn.add_tools(HoverTool(tooltips=hover, mode="mouse", point_policy="snap_to_data"))
    values: Sequence[float] = source.data[name]
    level = threshold if threshold is not None else float(np.nanmedian(values))
    dash, colour = ("dashed", VERMILION) if threshold is not None else ("solid", MUTED)
    drawn.add_layout(Span(location=level, dimension="width", line_dash=dash, line_color=colour, line_width=1))
    dress(drawn)
    drawn.xaxis.visible = False
    drawn.xgrid.visible = False
    return drawn


def dress(drawn: figure) -> None:
    """Take away from a panel what carries no information."""
    drawn.title.text_font_size = "12px"
    drawn.title.text_color = INK
    drawn.grid.grid_line_color = "#e4e7eb"
    drawn.outline_line_color = None
    drawn.yaxis.axis_line_color = None
    drawn.yaxis.major_label_text_font_size = "11px"
    drawn.yaxis.minor_tick_line_color = None
    drawn.yaxis.major_tick_line_color = None
