"""Pictures and plots of a report, by name."""

from __future__ import annotations

import numpy as np

from regcore.image import Image
from regcore.qc import checks
from regcore.qc.data import ReportData
from regcore.qc.figures import map_figure, template_figure
from regcore.qc.findings import ABSOLUTE, RELATIVE, STRUCTURE, VOLUME, chosen_fusion, runtime_summary
from regcore.qc.plots import convergence_figure, runtime_figure, structure_figure


def template_pictures(data: ReportData) -> list[tuple[str, bytes]]:
    """Picture of the template of every iteration, the last one first."""
    shown = []
    for index, (label, image) in enumerate(reversed(data.templates)):
        mask = data.template_mask
        if mask is not None and not mask.grid.matches(image.grid):
            mask = None
        width = 1040 if index == 0 else 520
        shown.append((label, template_figure(image, mask, width_px=width, convention=data.convention)))
    return shown


def plots_of(data: ReportData) -> dict[str, bytes]:
    """Plots by name; those without data are left out."""
    found: dict[str, bytes] = {}
    if data.convergence is not None and not data.convergence.empty:
        found["convergence"] = convergence_figure(data.convergence, data.convergence_threshold_mm)
    if data.variance is not None and data.templates:
        deviation = Image(np.sqrt(np.maximum(data.variance.data, 0)).astype(np.float32), data.variance.grid)
        found["variance"] = map_figure(
            deviation, data.templates[-1][1], data.template_mask,
            label="standard deviation over members (units of the normalised intensity)",
            convention=data.convention,
        )  # fmt: skip
    accuracy = None
    if data.validation is not None and not data.validation.empty:
        accuracy = chosen_fusion(data)
        found["fusions"] = structure_figure(
            data.validation, "fusion", "dice", "Dice of every structure and atlas"
        )
        found["bias"] = structure_figure(
            accuracy, "structure", "volume_bias_percent", "volume bias (%; > 0: too large)", zero=True
        )
    for key, frame, value, label, logarithmic in (
        ("volumes", data.volumes, VOLUME, "volume (mm³)", True),
        (
            "relative",
            data.jacobians,
            RELATIVE,
            "mean relative log-Jacobian (> 0: larger than in the template)",
            False,
        ),
        (
            "absolute",
            data.jacobians,
            ABSOLUTE,
            "mean absolute log-Jacobian (> 0: larger than in the template)",
            False,
        ),
        ("overlap", data.overlap, ("dice",), "Dice with the member's own labels", False),
        ("dice", accuracy, ("dice",), "Dice with the atlas's own labels", False),
        ("hausdorff", accuracy, ("hausdorff95_mm",), "95 % Hausdorff distance (mm)", False),
    ):
        name, column = checks.first_column(frame, *STRUCTURE), checks.first_column(frame, *value)
        if frame is not None and not frame.empty and name is not None and column is not None:
            zero = key in ("relative", "absolute")
            found[key] = structure_figure(frame, name, column, label, logarithmic=logarithmic, zero=zero)
    summary = runtime_summary(data.runtime)
    if summary is not None and not summary.empty:
        found["runtime"] = runtime_figure(summary)
    return found
