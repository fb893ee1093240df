"""How good a registration is: the same code, and the same interpolation, for every tool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.data import Pair
from regcore.features.accuracy import registration_errors
from regcore.image import Image
from regcore.io.itk import read_transform
from regcore.io.landmarks import read_landmarks
from regcore.io.nifti import read_grid, read_image, read_labels, read_mask, write_image
from regcore.kernels.jacobian import jacobian_determinant
from regcore.labels.overlap import dice
from regcore.landmarks import Landmarks
from regcore.preprocess import foreground_mask
from regcore.resample import coverage, resample
from regcore.space import Grid
from regcore.transforms import Transform

HISTOGRAM_BINS = 64


def score(
    pair: Pair, forward: Transform, backward: Transform | None, rigid: bool = False, kept: Path | None = None
) -> dict[str, float]:
    """What the labels, landmarks and transforms that came with a pair say of a result.

    Parameters
    ----------
    pair : Pair
    forward : Transform
        World mm of the fixed to world mm of the moving image.
    backward : Transform or None
        The way back, where the tool gives it.
    rigid : bool
        Whether the images are of two modalities and the result is rigid: no Jacobians then, but ``mi`` and
        ``mi_truth``, mutual information over the head with the result and with the true transform.
    kept : Path, optional
        Where to write the moving labels on the fixed grid.

    Returns
    -------
    dict
        With labels ``dice``, the mean over those that either holds. With landmarks ``tre_mm`` and
        ``tre_median_mm`` over the pairs inside both images, and ``landmarks``, their number. With a true
        transform ``error_mm``, the mean distance from it over the region (see `region`).
        ``folded``: share of the voxels that see the moving image where the Jacobian determinant is not above
        0. ``inverse_error_vox``: mean distance over the region from a voxel to where there and back leads, in
        voxels; left out without `backward`.
    """
    result: dict[str, float] = {}
    grid, source = read_grid(pair.fixed.image), read_grid(pair.moving.image)
    if pair.fixed.labels and pair.moving.labels:
        # labels need not lie on the grid of their image
        reference = read_labels(pair.fixed.labels)
        carried = resample(read_labels(pair.moving.labels), reference.grid, forward, "label")
        if kept is not None:
            write_image(kept, carried, dtype=np.int16)
        result["dice"] = mean_dice(reference, carried)
    if pair.fixed.landmarks and pair.moving.landmarks:
        errors = registration_errors(*landmarks_inside(pair), forward)
        result |= {"tre_mm": errors.mean(), "tre_median_mm": np.median(errors), "landmarks": len(errors)}
    inside = region(pair)
    points = grid.to_world(np.argwhere(inside))
    if pair.truth is not None:
        truth = read_transform(pair.truth)
        result["error_mm"] = np.linalg.norm(forward(points) - truth(points), axis=1).mean()
        if rigid:
            result["mi"] = _mutual_information(pair, forward, inside)
            result["mi_truth"] = _mutual_information(pair, truth, inside)
    if not rigid:
        result["folded"] = _folded(grid, source, forward)
        if backward is not None:
            moved = grid.to_voxel(backward(forward(points))) - grid.to_voxel(points)
            result["inverse_error_vox"] = np.linalg.norm(moved, axis=1).mean()
    return {name: float(value) for name, value in result.items()}


def mean_dice(first: Image, second: Image) -> float:
    """Mean Dice over the labels that either map holds."""
    return float(np.mean(list(dice(first, second).values())))


def landmarks_inside(pair: Pair) -> tuple[Landmarks, Landmarks]:
    """Landmarks of the fixed and the moving image, those pairs of which either lies in its image."""
    found = [read_landmarks(subject.landmarks) for subject in (pair.fixed, pair.moving)]
    inside = np.ones(len(found[0]), bool)
    for subject, landmarks in zip((pair.fixed, pair.moving), found, strict=True):
        grid = read_grid(subject.image)
        voxels = grid.to_voxel(landmarks.points)
        inside &= ((voxels >= 0) & (voxels <= np.array(grid.shape) - 1)).all(axis=1)
    return Landmarks(found[0].points[inside]), Landmarks(found[1].points[inside])


def region(pair: Pair) -> npt.NDArray[np.bool_]:
    """Voxels of the fixed image that count: those with a label, else in its mask, else its foreground."""
    if pair.fixed.labels:
        labels = read_labels(pair.fixed.labels)
        # they need not lie on the grid of their image
        return resample(labels, read_grid(pair.fixed.image), interpolation="nearest").data > 0
    if pair.fixed.mask:
        return read_mask(pair.fixed.mask).data > 0
    return foreground_mask(read_image(pair.fixed.image)).data > 0


def _mutual_information(pair: Pair, transform: Transform, inside: npt.NDArray[np.bool_]) -> float:
    fixed, moving = read_image(pair.fixed.image), read_image(pair.moving.image)
    seen = inside & (coverage(moving.grid, fixed.grid, transform).data > 0)
    warped = resample(moving, fixed.grid, transform)
    joint, _, _ = np.histogram2d(fixed.data[seen], warped.data[seen], bins=HISTOGRAM_BINS)
    joint /= joint.sum()
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    used = joint > 0
    return float((joint[used] * np.log(joint[used] / apart[used])).sum())


def _folded(grid: Grid, source: Grid, forward: Transform) -> float:
    points = forward(grid.world_points())
    field = (grid.to_voxel(points) - np.stack(np.indices(grid.shape), axis=-1)).astype(np.float32)
    # one voxel in from where the moving image ends: beyond, no tool promises anything
    seen = ndimage.binary_erosion(coverage(source, grid, forward).data > 0)
    return float((jacobian_determinant(field)[seen] <= 0).mean())
