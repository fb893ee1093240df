"""Statistics in the report: maps of t, forest plots of structures, agreement of two volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from regcore.image import Image
from regcore.qc.figures import DPI, canvas_of_planes, draw_plane, name_sides, png_bytes, window
from regcore.qc.planes import NAMES, Convention, canonical, foreground_box, planes
from regcore.qc.plots import BLUE, INK, MUTED, PALETTE, VERMILION, shorten, tidy_axes

SHOWN_P = 0.001
CORRECTED_P = 0.05
MOST_STRUCTURES = 40
COLOURS = "RdBu_r"
NUMBERS = {
    "LargestAbsoluteT": "largest |t|",
    "ThresholdT": "|t| for family-wise p = 0.05",
    "VoxelsFwe": "voxels with family-wise p ≤ 0.05",
    "VoxelsFweTfce": "with clusters enhanced (TFCE)",
    "VoxelsFdr": "with false discovery rate ≤ 0.05",
}
CONTOUR = "#ffe45c"


@dataclass(frozen=True, eq=False)
class DesignShown:
    """A design as the report shows it.

    Parameters
    ----------
    name : str
    summary : mapping
        Content of its ``summary.json``.
    structures : DataFrame, optional
        Its table of structures.
    maps : mapping of str to (Image, Image or None)
        Contrast to its t map and that of -log10 of the corrected p-value, if there is one.
    left_out : DataFrame, optional
        Who did not take part, and why.
    """

    name: str
    summary: Mapping[str, Any]
    structures: pd.DataFrame | None = None
    maps: Mapping[str, tuple[Image, Image | None]] | None = None
    left_out: pd.DataFrame | None = None


def contrast_figures(
    design: DesignShown, contrast: str, template: Image | None, mask: Image | None, convention: Convention
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Map and plot of a contrast, as far as there are any, by what each shows in words."""
    views, plots = {}, {}
    if design.maps and contrast in design.maps and template is not None:
        t, corrected = design.maps[contrast]
        degrees = int(design.summary["DegreesOfFreedom"])
        views[f"t map of {contrast} on the template, three planes through its peak"] = statistic_figure(
            t, template, degrees, corrected, mask, convention=convention
        )
    if design.structures is not None:
        rows = design.structures[design.structures["contrast"] == contrast]
        if rows["effect"].notna().any():
            weights = design.summary["Contrasts"][contrast]
            plots[f"Effect of {contrast} on structures"] = forest_figure(rows, weights)
    return views, plots


def statistic_figure(
    t: Image,
    template: Image,
    degrees: int,
    corrected: Image | None = None,
    mask: Image | None = None,
    *,
    width_px: int = 1040,
    convention: Convention = "neurological",
) -> bytes:
    """Map of t over the template in three planes through its peak, as a PNG.

    What passes p < 0.001 by itself is opaque, what does not fades with its t, so that the eye sees what lies
    below the threshold too (Allen, E. A. et al. 2012, doi:10.1016/j.neuron.2012.05.001). A yellow line is
    drawn around what is significant after correction.

    Parameters
    ----------
    t, template : Image
        On the same grid.
    degrees : int
        Of freedom of t.
    corrected : Image, optional
        -log10 of the corrected p-value.
    mask : Image, optional
        Frames the picture.
    """
    box = foreground_box(template, mask)
    turned = np.abs(canonical(t).data)
    peak = np.unravel_index(int(np.argmax(turned)), turned.shape)
    centre = tuple(int(np.clip(place, low, high - 1)) for place, (low, high) in zip(peak, box, strict=True))
    at = (centre[0], centre[1], centre[2])
    layers = [planes(image, box, convention, at) for image in (template, t)]
    significant = None if corrected is None else planes(corrected, box, convention, at)
    figure, axes = canvas_of_planes(layers[0], width_px, footer_px=64)
    levels = window(template)
    threshold = float(scipy.stats.t.isf(SHOWN_P / 2, degrees))
    top = max(float(turned.max()), 1.2 * threshold)
    colours, scale = colormaps[COLOURS], Normalize(-top, top)
    for number, (ax, under, over) in enumerate(zip(axes, *layers, strict=True)):
        draw_plane(ax, under, levels)
        painted = colours(scale(over.values))
        painted[..., 3] = np.clip(np.abs(over.values) / threshold, 0, 1) ** 2
        ax.imshow(painted, origin="lower", aspect="auto", interpolation="nearest")
        if significant is not None:
            inside = (significant[number].values >= -np.log10(CORRECTED_P)).astype(np.float32)
            if inside.any() and not inside.all():
                ax.contour(inside, levels=[0.5], colors=[CONTOUR], linewidths=0.9)
        name_sides(ax, under)
        place = ax.get_position()
        text = f"{under.name}  {'xyz'[NAMES.index(under.name)]} = {under.position_mm:.4g} mm"
        figure.text(
            (place.x0 + place.x1) / 2, 50 / (figure.get_figheight() * DPI), text,
            color="#bbbbbb", fontsize=7, ha="center",
        )  # fmt: skip
    tall = figure.get_figheight() * DPI
    bar_axes = figure.add_axes((0.25, 34 / tall, 0.5, 9 / tall))
    bar_axes.imshow(np.linspace(-top, top, 256)[None], cmap=COLOURS, aspect="auto", extent=(-top, top, 0, 1))
    for end in (-threshold, threshold):
        bar_axes.axvline(end, color="black", linewidth=1)
    bar_axes.set_yticks([])
    bar_axes.tick_params(colors="white", labelsize=7, length=2, pad=1)
    label = f"t (black marks: p = {SHOWN_P:g}"
    label += ")" if corrected is None else f"; yellow line: corrected p = {CORRECTED_P:g})"
    bar_axes.set_xlabel(label, color="white", fontsize=8, labelpad=1, parse_math=False)
    return png_bytes(figure)


def forest_figure(rows: pd.DataFrame, weights: Mapping[str, float]) -> bytes:
    """Standardised effect of a contrast in every structure with its 95 % confidence interval, as a PNG.

    Between groups it is Cohen's d, along a number the partial correlation; what is significant at a false
    discovery rate of 0.05 is filled. The strongest structures are shown, those with the largest effect above.

    Parameters
    ----------
    rows : DataFrame
        As `structure_models` makes it, of one contrast.
    weights : mapping
        Of the contrast.
    """
    grouped = all("[" in column and ":" not in column for column, weight in weights.items() if weight)
    value, label = ("partial_correlation", "partial correlation")
    if grouped or rows["partial_correlation"].isna().all():
        value, label = "cohens_d", "Cohen's d (effect over residual standard deviation)"
    known = rows[rows[value].notna()]
    order = known["statistic"].abs().sort_values(ascending=False, kind="stable").index[:MOST_STRUCTURES]
    table = known.loc[order].sort_values(value, ascending=False, kind="stable")
    several = table["segmentation"].nunique() > 1
    names = [
        shorten(str(row.structure)) + (f" ({row.segmentation})" if several else "")
        for row in table.itertuples()
    ]
    height = 0.19 * len(table) + 0.75
    figure = Figure(figsize=(8.4, height), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(table))
    centre, low, high = (
        table[name].to_numpy(np.float64) for name in (value, f"{value}_low", f"{value}_high")
    )
    sure = table["p_fdr"].to_numpy(np.float64) <= CORRECTED_P
    colours = np.where(centre > 0, VERMILION, BLUE).tolist()
    axes.axvline(0, color=MUTED, linewidth=0.9)
    axes.hlines(places, low, high, color=colours, linewidth=1.4)
    axes.scatter(
        centre,
        places,
        s=26,
        facecolors=[c if filled else "white" for c, filled in zip(colours, sure, strict=True)],
        edgecolors=list(colours),
        linewidths=1.2,
        zorder=3,
    )
    axes.set_yticks(places, names, fontsize=7.5, parse_math=False)
    axes.set_ylim(len(table) - 0.4, -0.6)
    tidy_axes(axes)
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{label}, 95 % confidence; filled: FDR ≤ {CORRECTED_P:g}", fontsize=8.5, color=INK)
    more = len(known) - len(table)
    if more:
        axes.set_title(
            f"the strongest {len(table)} of {len(known)} structures", fontsize=8.5, color=INK, loc="left"
        )
    return png_bytes(figure, PALETTE, dpi=125)


def agreement_figure(volumes: pd.DataFrame, jacobians: pd.DataFrame, consistency: pd.DataFrame) -> bytes:
    """Integrated Jacobians beside volumes of labels: between members, and structure by structure, as a PNG.

    Parameters
    ----------
    volumes, jacobians, consistency : DataFrame
        The tables of the study.
    """
    keys = [name for name in ("participant_id", "session_id", "segmentation", "label") if name in jacobians]
    both = jacobians[[*keys, "integrated_volume_mm3"]].merge(volumes[[*keys, "volume_mm3"]], on=keys)
    both = both[(both["volume_mm3"] > 0) & (both["integrated_volume_mm3"] > 0)]
    logs = both[["volume_mm3", "integrated_volume_mm3"]].astype(np.float64).map(np.log)
    inner = logs - logs.groupby([both["segmentation"], both["label"]]).transform("mean")
    inner = 100 * inner.map(np.expm1)
    figure = Figure(figsize=(10.4, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    reach = max(float(np.nanpercentile(inner.abs().to_numpy(), 99)) * 1.15 if len(inner) else 0.0, 1.0)
    left.plot([-reach, reach], [-reach, reach], color=MUTED, linewidth=0.9, linestyle="--")
    left.plot(
        inner["volume_mm3"], inner["integrated_volume_mm3"], "o", color=BLUE, markersize=2.6, alpha=0.45
    )
    left.set_xlim(-reach, reach)
    left.set_ylim(-reach, reach)
    left.set_xlabel("label volume, % from the structure's mean", fontsize=8.5, color=INK)
    left.set_ylabel("integrated Jacobian, % from its mean", fontsize=8.5, color=INK)
    left.set_title("a dot a member and structure; dashed: equal", fontsize=8.5, color=INK, loc="left")
    known = consistency[consistency["correlation"].notna()]
    right.axhline(0, color=MUTED, linewidth=0.9)
    right.scatter(known["volume_mm3"], known["correlation"], s=16, color=BLUE, alpha=0.6, linewidths=0)
    for row in known.nsmallest(min(3, len(known) // 4), "correlation").itertuples():
        right.annotate(
            shorten(str(row.structure), 28), (float(str(row.volume_mm3)), float(str(row.correlation))),
            xytext=(4, 3), textcoords="offset points", fontsize=6.8, color=INK, parse_math=False,
        )  # fmt: skip
    right.set_xscale("log")
    right.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    right.xaxis.set_major_formatter("{x:,g}")
    right.xaxis.set_minor_formatter("")
    right.set_ylim(min(-0.05, float(known["correlation"].min()) - 0.05 if len(known) else 0.0), 1.05)
    right.set_xlabel("mean label volume (mm³)", fontsize=8.5, color=INK)
    right.set_ylabel("correlation over members", fontsize=8.5, color=INK)
    right.set_title("a dot a structure", fontsize=8.5, color=INK, loc="left")
    for axes in (left, right):
        tidy_axes(axes)
    return png_bytes(figure, PALETTE, dpi=120)


def agreement_summary(consistency: pd.DataFrame) -> Sequence[tuple[str, float]]:
    """Medians over structures of what the table of consistency says."""
    names = {"correlation": "correlation", "bias_percent": "bias (%)", "spread_percent": "spread (%)"}
    return [(text, float(consistency[name].median())) for name, text in names.items()]
