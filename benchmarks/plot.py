"""Accuracy against time, a panel a row, of what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import pandas

from benchmarks.data import Row

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.lines import Line2D

# Okabe and Ito's colours, told apart by every kind of colour vision; the marks tell them apart without colour
STYLES = {
    "regcore": ("#D55E00", "*"),
    "greedy": ("#0072B2", "o"),
    "ants-syn": ("#009E73", "s"),
    "ants-quick": ("#56B4E9", "^"),
    "ants-full": ("#000000", "v"),
    "elastix": ("#CC79A7", "D"),
    "dipy": ("#E69F00", "P"),
}
TITLES = {
    "brains": "Heads, 2 mm, 148 labels",
    "brains_1mm": "Brains, 1 mm, deformable",
    "hippocampus": "Hippocampus, 2 labels",
    "mouse": "Mouse brains, 37 labels",
    "lung": "Lung CT, landmarks",
    "multimodal": "T1, T2 to FLAIR, rigid",
    "icbm": "Known warps, 1 mm",
}
AXES = {"dice": "mean Dice", "tre_mm": "mean TRE (mm)", "error_mm": "mean error (mm)"}
COLUMNS = 3


def draw(results: Mapping[str, tuple[Row, pandas.DataFrame]], path: Path) -> None:
    """Draw the panels: better is up, faster is left.

    Parameters
    ----------
    results : mapping of str to (Row, DataFrame)
        Of every row its results (see `kept_results`).
    path : Path
        Picture to write, 1280 pixels wide.
    """
    shown = {name: results[name] for name in TITLES if name in results}
    lines = -(-(len(shown) + 1) // COLUMNS)
    with pyplot.rc_context({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = pyplot.subplots(lines, COLUMNS, figsize=(8, 2.15 * lines), layout="constrained")
        for panel, (name, (row, table)) in zip(axes.flat, shown.items(), strict=False):
            _panel(panel, row, table)
            panel.set_title(TITLES[name], fontsize=9, loc="left")
        for panel in axes.flat[len(shown) :]:
            panel.axis("off")
        used = [name for name in STYLES if any((table.method == name).any() for _, table in shown.values())]
        handles = [*(_mark(name, [], [], False) for name in used), _mark("greedy", [], [], True, "0.5")]
        names = [*used, "rough time, taken beside other work"]
        # laid out as a panel's content the legend would squeeze all panels
        axes.flat[len(shown)].legend(handles, names, loc="center left", frameon=False).set_in_layout(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160)
        pyplot.close(figure)


def _panel(panel: Any, row: Row, table: pandas.DataFrame) -> None:
    good = table[table[row.accuracy].notna()] if row.accuracy in table else table.iloc[:0]
    panel.set_xscale("log")
    panel.margins(0.12, 0.15)
    for name, mine in good.groupby("method", sort=False):
        timed = mine[mine.runs > 0]
        time, value = (timed if len(timed) else mine).wall_s.median(), mine[row.accuracy].mean()
        panel.add_line(_mark(str(name), [time], [value], not len(timed)))
        if len(mine) < good.pair.nunique():
            of = f"{len(mine)} pair{'s' * (len(mine) > 1)}"
            panel.annotate(of, (time, value), (0, -11), textcoords="offset points", ha="center", fontsize=7)
    panel.autoscale_view()
    if row.accuracy != "dice":
        panel.invert_yaxis()
    panel.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    low, high = panel.get_xlim()
    if high / low < 20:
        # a tick at each power of ten would be too few
        panel.set_xticks([value for value in _round_steps() if low <= value <= high])
    panel.set_xlabel("whole process (s)", labelpad=1)
    panel.set_ylabel(AXES[row.accuracy])
    panel.grid(alpha=0.25, linewidth=0.6)


def _round_steps() -> list[float]:
    return [float(step * 10.0**power) for power in range(-2, 5) for step in (1, 2, 5)]


def _mark(name: str, times: list[float], values: list[float], rough: bool, colour: str = "") -> Line2D:
    own, mark = STYLES[name]
    colour = colour or own
    return Line2D(
        times,
        values,
        marker=mark,
        color=colour,
        markerfacecolor="white" if rough else colour,
        markersize=11 if mark == "*" else 6.5,
        markeredgewidth=1.3,
        linestyle="none",
        clip_on=False,
        zorder=3,
    )
