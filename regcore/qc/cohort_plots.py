"""Plots of what is asked of a cohort beyond its template, as PNG bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regcore.qc.figures import png_bytes
from regcore.qc.outliers import THRESHOLD, member_keys, robust_scores
from regcore.qc.plots import BLUE, INK, MUTED, PALETTE, VERMILION, shorten, tidy_axes

MOST_NAMES = 12


def influence_figure(influence: pd.DataFrame) -> bytes:
    """Leave-one-out influence of every member on the template: intensity against shape, as a PNG.

    Members whose influence is a robust outlier on either axis are rings with their names.

    Parameters
    ----------
    influence : DataFrame
        A row a member (see `outliers.member_keys`): `relative_intensity_change`,
        `rms_displacement_change_mm`, `rms_stretch_change_mm`.
    """
    names = member_keys(influence).to_numpy()
    intensity = 100 * influence["relative_intensity_change"].to_numpy(np.float64)
    figure = Figure(figsize=(10.4, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column, label in (
        (panels[0], "rms_displacement_change_mm", "change of the mean displacement (mm RMS)"),
        (panels[1], "rms_stretch_change_mm", "change of the mean size and shear (mm RMS)"),
    ):
        _scatter(axes, influence[column].to_numpy(np.float64), intensity, names)
        axes.set_xlabel(label, fontsize=8.5, color=INK)
    panels[0].set_ylabel("change of the intensity (% RMS)", fontsize=8.5, color=INK)
    return png_bytes(figure, PALETTE, dpi=125)


def _scatter(axes: Axes, across: np.ndarray, upward: np.ndarray, names: np.ndarray) -> None:
    tidy_axes(axes)
    far = (robust_scores(across) >= THRESHOLD) | (robust_scores(upward) >= THRESHOLD)
    axes.plot(across[~far], upward[~far], "o", color=BLUE, markersize=4.5, alpha=0.8, markeredgewidth=0)
    axes.plot(
        across[far], upward[far], "o",
        markersize=6, markerfacecolor="none", markeredgecolor=VERMILION, markeredgewidth=1.4,
    )  # fmt: skip
    most = np.nanmax(across, initial=1e-6), np.nanmax(upward, initial=1e-6)
    axes.set_xlim(0, 1.12 * most[0])
    axes.set_ylim(0, 1.12 * most[1])
    shown = sorted(np.flatnonzero(far), key=lambda at: -float(across[at] / most[0] + upward[at] / most[1]))
    for at in shown[:MOST_NAMES]:
        # towards the middle, so that no name leaves the panel
        left = across[at] > 0.6 * most[0]
        axes.annotate(
            shorten(str(names[at]), 20), (across[at], upward[at]), textcoords="offset points",
            xytext=(-6 if left else 6, 0), fontsize=7, color=MUTED,
            ha="right" if left else "left", va="center", parse_math=False,
        )  # fmt: skip
