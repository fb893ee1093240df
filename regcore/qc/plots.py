"""Plots of tables as PNG bytes: convergence, structures, overlap, run time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from regcore.qc.figures import png_bytes
from regcore.qc.outliers import THRESHOLD, robust_scores

INK = "#1f2933"
MUTED = "#7b8794"
BLUE = "#0072b2"
PALE = "#9ecae1"
VERMILION = "#d55e00"
PALETTE = (BLUE, PALE, VERMILION)
FEWEST_PIXELS_A_ROW = 12.5

PANELS = (
    ("rms_shape_update_mm", "Shape update, mm RMS", True),
    ("template_change", "Change of the template", True),
    ("sharpness", "Sharpness", False),
    ("mean_similarity", "Mean similarity", False),
)

LONGEST_SCALE = 1000.0
"""Most that a logarithmic axis spans: largest value over smallest."""


def tidy_axes(axes: Axes, size: float = 8) -> None:
    """Take away what carries no information."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=size, length=3)
    axes.grid(True, color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)


def convergence_figure(convergence: pd.DataFrame, threshold_mm: float | None = None) -> bytes:
    """Shape update, template change, sharpness and similarity by iteration, as a PNG.

    Parameters
    ----------
    convergence : DataFrame
        A row an iteration; columns `iteration`, optional `stage`, and any of those in `PANELS`.
    threshold_mm : float, optional
        Stop threshold, drawn on the first panel.
    """
    panels = [panel for panel in PANELS if panel[0] in convergence]
    figure = Figure(figsize=(10.4, 2.6), layout="constrained")
    iteration = (
        pd.to_numeric(convergence["iteration"]).to_numpy(np.float64)
        if "iteration" in convergence
        else np.arange(1, len(convergence) + 1, dtype=np.float64)
    )
    stages = convergence["stage"].astype(str).to_numpy() if "stage" in convergence else None
    all_axes = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
    for axes, (column, title, logarithmic) in zip(all_axes, panels, strict=False):
        values = pd.to_numeric(convergence[column], errors="coerce").to_numpy(np.float64)
        axes.plot(iteration, values, "-o", color=BLUE, markersize=4.5, linewidth=1.6)
        if logarithmic and np.nanmin(values, initial=np.inf) > 0:
            axes.set_yscale("log")
            axes.margins(y=0.2)
            # rigid iterations leave the shape alone: their rounding errors need no room on the axis
            most = float(np.nanmax(values, initial=0.0))
            least = most / LONGEST_SCALE
            if np.nanmin(values, initial=np.inf) < least:
                axes.set_ylim(least, 2 * most)
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        if column == "rms_shape_update_mm" and threshold_mm is not None:
            axes.axhline(threshold_mm, color=VERMILION, linestyle="--", linewidth=1.2)
            title += f" (dashed: {threshold_mm:g})"
        tidy_axes(axes)
        axes.set_title(title, fontsize=9, color=INK, loc="left")
        axes.set_xlabel("iteration", fontsize=8, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(iteration.min() - 0.5, iteration.max() + 0.5)
        if stages is not None:
            for at in np.flatnonzero(stages[1:] != stages[:-1]):
                axes.axvline(
                    (iteration[at] + iteration[at + 1]) / 2, color=MUTED, linewidth=0.8, linestyle=":"
                )
            starts = [0, *(np.flatnonzero(stages[1:] != stages[:-1]) + 1)]
            for start in starts:
                # falling curves leave room at the bottom, rising ones at the top
                height, align = (0.03, "bottom") if logarithmic else (0.97, "top")
                axes.annotate(
                    shorten(stages[start], 16), (iteration[start] - 0.46, height),
                    xycoords=("data", "axes fraction"), rotation=90, fontsize=6.5, color=MUTED,
                    ha="left", va=align, parse_math=False,
                )  # fmt: skip
    return png_bytes(figure, PALETTE, dpi=130)


def structure_figure(
    frame: pd.DataFrame,
    structure: str,
    value: str,
    label: str,
    *,
    logarithmic: bool = False,
    zero: bool = False,
    most: int = 200,
) -> bytes:
    """Distribution over members of one measure in every structure, sorted by the median, as a PNG.

    A row a structure: thin line from the smallest to the largest ordinary value, thick bar from the lower to
    the upper quartile, black tick at the median, a ring for every robust outlier. Reads equally with 3 and
    150 structures.

    Parameters
    ----------
    frame : DataFrame
        A row a member x structure.
    structure, value : str
        Columns of the structure's name and of the measure.
    label : str
        What the axis shows, with its unit.
    logarithmic : bool
        Logarithmic axis; values that are not positive are left out.
    zero : bool
        Draw a line at zero.
    most : int
        Show at most that many structures: those with the widest middle half.
    """
    values = pd.to_numeric(frame[value], errors="coerce")
    table = pd.DataFrame({"name": frame[structure].astype(str), "value": values})
    table = table[np.isfinite(table["value"]) & ((table["value"] > 0) | (not logarithmic))]
    groups = {str(name): group.to_numpy(np.float64) for name, group in table.groupby("name")["value"]}
    if len(groups) > most:
        wide = sorted(
            groups, key=lambda name: (-float(np.subtract(*np.percentile(groups[name], [75, 25]))), name)
        )
        groups = {name: groups[name] for name in wide[:most]}
    names = sorted(groups, key=lambda name: (-float(np.median(groups[name])), name))
    columns = 1 if len(names) <= 24 else 2
    rows = max(-(-len(names) // columns), 1)
    size = 6.6 if rows > 24 else 8.0
    height = rows * FEWEST_PIXELS_A_ROW * (1.5 if rows <= 24 else 1.0) / 100 + 0.62
    figure = Figure(figsize=(10.4, height))
    all_axes = figure.subplots(1, columns, squeeze=False)[0]
    # margins in inches: names to the left, the axis below; a layout engine takes seconds on 150 names
    names_wide = 0.2 + 0.0074 * size * max((len(shorten(name)) for name in names), default=0)
    figure.subplots_adjust(
        left=names_wide / 10.4, right=1 - 0.12 / 10.4, top=1 - 0.08 / height, bottom=0.48 / height,
        wspace=(names_wide + 0.15) / ((10.4 - 0.3 - columns * names_wide) / columns),
    )  # fmt: skip
    spread = np.concatenate([*groups.values(), np.array([0.0])]) if groups else np.array([1.0, 2.0])
    if not zero and groups:
        spread = spread[:-1]
    for column, axes in enumerate(all_axes):
        shown = names[column * rows : (column + 1) * rows]
        tidy_axes(axes, size=7)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(float(spread.min()) / 1.15, float(spread.max()) * 1.15)
            axes.xaxis.set_major_formatter("{x:,g}")
            axes.xaxis.set_minor_formatter("")
        else:
            pad = 0.03 * float(np.ptp(spread)) or 1.0
            axes.set_xlim(float(spread.min()) - pad, float(spread.max()) + pad)
        draw_distributions(axes, [groups[name] for name in shown])
        axes.set_yticks(range(len(shown)), [shorten(name) for name in shown], fontsize=size, parse_math=False)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.grid(False, axis="y")
        if zero:
            axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.set_xlabel(label, fontsize=8.5, color=INK, parse_math=False)
    return png_bytes(figure, PALETTE, dpi=125)


def draw_distributions(axes: Axes, groups: Sequence[npt.NDArray[np.float64]]) -> None:
    """Draw the rows of `structure_figure`."""
    quartiles = np.array([np.percentile(values, [25, 50, 75]) for values in groups]).reshape(-1, 3)
    far = [np.abs(robust_scores(values)) >= THRESHOLD for values in groups]
    near = [values[~out] for values, out in zip(groups, far, strict=True)]
    rows = np.arange(len(groups))
    axes.hlines(rows, [v.min() for v in near], [v.max() for v in near], color=MUTED, linewidth=0.8)
    axes.hlines(rows, quartiles[:, 0], quartiles[:, 2], color=PALE, linewidth=4.6)
    axes.plot(quartiles[:, 1], rows, "|", color=INK, markersize=6, markeredgewidth=1.4)
    axes.plot(
        np.concatenate([v[out] for v, out in zip(groups, far, strict=True)] or [np.array([])]),
        np.repeat(rows, [int(out.sum()) for out in far]),
        "o", markersize=3.4, markerfacecolor="none", markeredgecolor=VERMILION, markeredgewidth=0.9,
    )  # fmt: skip


def shorten(text: str, most: int = 34) -> str:
    """Cut a long name in the middle.

    Examples
    --------
    >>> shorten("left superior temporal gyrus", 15)
    'left su…l gyrus'
    """
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return text[:head] + "…" + text[-(most - 1 - head) :]


def runtime_figure(summary: pd.DataFrame) -> bytes:
    """Total time of every rule as bars, as a PNG.

    Parameters
    ----------
    summary : DataFrame
        Columns `rule` and `total_seconds`, the longest first.
    """
    figure = Figure(figsize=(6.4, 0.24 * len(summary) + 0.6), layout="constrained")
    axes = figure.subplots()
    minutes = summary["total_seconds"].to_numpy(np.float64) / 60
    axes.barh(np.arange(len(summary)), minutes, color=BLUE, height=0.66)
    axes.set_yticks(range(len(summary)), [shorten(str(rule)) for rule in summary["rule"]], parse_math=False)
    axes.invert_yaxis()
    tidy_axes(axes)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("minutes, all jobs together", fontsize=8, color=INK)
    return png_bytes(figure, PALETTE, dpi=120)
