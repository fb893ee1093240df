"""How far a template still is from the middle of its cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.groupwise.average import PartialSum, average
from regcore.groupwise.shape import mean_displacement, mean_log_stretch
from regcore.image import Image
from regcore.kernels.jacobian import jacobian_determinant
from regcore.preprocess import foreground_mask
from regcore.transforms import Transform

Array = npt.NDArray[np.float64]

OUTLIER_DEVIATIONS = 3.5
"""Robust standard deviations below the median similarity at which a member counts as an outlier."""


def bias_certificate(
    partial: PartialSum, foreground: Image | None = None, threshold_mm: float = 0.1
) -> dict[str, Any]:
    """How far a template lies from its cohort's mean shape, and whether that is little enough.

    Parameters
    ----------
    partial : PartialSum
        Sums over the whole cohort.
    foreground : Image, optional
        Where it is measured, on the template's grid; the foreground of the average where not given.
    threshold_mm : float
        Most that either measure may be, mm.

    Returns
    -------
    dict
        ``mean_displacement_rms_mm``: root mean square over the foreground of the mean displacement's length.
        ``mean_log_affine_rms_mm``: the same of the displacement by the mean log affine without its rigid
        part (mean log stretch), about the foreground's centre. ``mean_log_affine``: its matrix, (3, 3) lists.
        ``threshold_mm``, ``members``, ``unbiased`` (bool) and ``verdict`` (a sentence).

    Raises
    ------
    InputError
        If the foreground is empty or on another grid.
    """
    inside = _inside(partial, foreground)
    moved_mm = mean_displacement(partial)[inside].astype(np.float64) @ partial.grid.affine[:3, :3].T
    displacement = _rms_length(moved_mm)
    points = partial.grid.to_world(np.argwhere(inside))
    stretch = mean_log_stretch(partial)
    affine = _rms_length((points - points.mean(axis=0)) @ stretch.T)
    unbiased = displacement <= threshold_mm and affine <= threshold_mm
    verdict = "unbiased" if unbiased else "biased"
    return {
        "mean_displacement_rms_mm": displacement,
        "mean_log_affine_rms_mm": affine,
        "mean_log_affine": stretch.tolist(),
        "threshold_mm": float(threshold_mm),
        "members": partial.count,
        "unbiased": bool(unbiased),
        "verdict": f"{verdict}: the mean displacement is {displacement:.3g} mm and the mean log affine "
        f"{affine:.3g} mm RMS over the foreground; the threshold is {threshold_mm:g} mm",
    }


def convergence_row(
    iteration: int,
    stage: str,
    previous: Image | None,
    template: Image,
    partial: PartialSum,
    update: Transform,
    similarities: Sequence[float],
    foreground: Image | None = None,
) -> dict[str, Any]:
    """One row of the convergence table.

    Parameters
    ----------
    iteration : int
        Number of the iteration, from 1.
    stage : str
        Stage that it belongs to (rigid, similarity, affine, deformable).
    previous, template : Image
        Template before (None where there is none, or on another grid) and after the iteration.
    partial : PartialSum
        Sums over the cohort of this iteration, before the shape update.
    update : Transform
        The iteration's shape update.
    similarities : sequence of float
        One a member, larger is better.
    foreground : Image, optional
        Where everything is measured; the foreground of the template where not given.

    Returns
    -------
    dict
        ``iteration, stage, members, rms_shape_update_mm, mean_log_jacobian`` (mean absolute log-Jacobian
        of the mean transform, absolute because signs cancel), ``mean_displacement_rms_mm,
        mean_log_affine_rms_mm, template_change`` (RMS difference over the RMS of the template; NaN in a
        first iteration), ``sharpness`` (RMS gradient, per mm, over the mean intensity),
        ``mean_similarity`` and ``outliers``.
    """
    mask = foreground_mask(template) if foreground is None else foreground
    inside = _inside(partial, mask)
    grid = template.grid
    points = grid.to_world(np.argwhere(inside))
    certificate = bias_certificate(partial, mask)
    determinant = jacobian_determinant(mean_displacement(partial))[inside]
    log_jacobian = np.log(np.maximum(determinant, 1e-3)) + np.trace(mean_log_stretch(partial))
    values = template.data.astype(np.float64)
    change = float("nan")
    if previous is not None and previous.grid.matches(grid):
        level = float(np.sqrt(np.mean(values[inside] ** 2)))
        difference = values[inside] - previous.data[inside]
        change = float(np.sqrt(np.mean(difference**2)) / level) if level > 0 else 0.0
    scores = np.asarray(similarities, dtype=np.float64)
    return {
        "iteration": int(iteration),
        "stage": str(stage),
        "members": partial.count,
        "rms_shape_update_mm": _rms_length(update(points) - points),
        "mean_log_jacobian": float(np.abs(log_jacobian).mean()),
        "mean_displacement_rms_mm": certificate["mean_displacement_rms_mm"],
        "mean_log_affine_rms_mm": certificate["mean_log_affine_rms_mm"],
        "template_change": change,
        "sharpness": sharpness(template, Image(inside.astype(np.uint8), grid)),
        "mean_similarity": float(scores.mean()) if scores.size else float("nan"),
        "outliers": _low_outliers(scores),
    }


def has_converged(rows: Sequence[Mapping[str, Any]], threshold_mm: float = 0.1) -> bool:
    """Whether the last iteration's shape update is at most `threshold_mm`, RMS over the foreground.

    So must be what its registrations moved the members by, where a linear stage says so (`rms_motion_mm`): a
    rigid stage never changes the template's shape. A stage's first iteration never stops a build: its update
    says how far the stage before had come.

    Examples
    --------
    >>> first = {"stage": "deformable", "rms_shape_update_mm": 0.5}
    >>> has_converged([first, first | {"rms_shape_update_mm": 0.05}])
    True
    >>> has_converged([first | {"rms_shape_update_mm": 0.05}])
    False
    >>> has_converged([first, first | {"rms_shape_update_mm": 0.0, "rms_motion_mm": 0.4}])
    False
    """
    if len(rows) < 2 or rows[-1]["stage"] != rows[-2]["stage"]:
        return False
    motion = rows[-1].get("rms_motion_mm") or 0.0
    return bool(max(rows[-1]["rms_shape_update_mm"], motion) <= threshold_mm)


def sharpness(image: Image, mask: Image) -> float:
    """Root mean square gradient, per mm, within a mask, divided by the mean intensity there.

    Squares, because the mean length of the gradient is the same for a steep edge and for a blurred one.
    """
    values = image.data.astype(np.float64)
    inside = mask.data > 0
    level = float(values[inside].mean())
    # world gradient = inverse transposed affine times the voxel gradient, right for oblique grids too
    voxel = np.stack(
        [
            np.gradient(values, axis=axis) if count > 1 else np.zeros(values.shape)
            for axis, count in enumerate(values.shape)
        ],
        axis=-1,
    )[inside]
    return float(_rms_length(voxel @ image.grid.inverse_affine[:3, :3]) / level) if level > 0 else 0.0


def _inside(partial: PartialSum, foreground: Image | None) -> npt.NDArray[np.bool_]:
    mask = foreground_mask(average(partial)) if foreground is None else foreground
    if not mask.grid.matches(partial.grid):
        raise InputError(f"foreground: expected the grid {partial.grid.shape}, found {mask.grid.shape}")
    inside = np.asarray(mask.data > 0)
    if not inside.any():
        raise InputError("foreground: expected at least one voxel, found none")
    return inside


def _rms_length(vectors: Array) -> float:
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=-1))))


def _low_outliers(scores: Array) -> int:
    if scores.size < 4:
        return 0
    middle = np.median(scores)
    spread = 1.4826 * np.median(np.abs(scores - middle))
    return int((scores < middle - OUTLIER_DEVIATIONS * max(float(spread), 1e-6)).sum())
