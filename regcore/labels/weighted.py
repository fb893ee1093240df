"""Label fusion by weights that come from patches of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.parallel import run_blocks
from regcore.labels import kernels, patch_kernels
from regcore.space import Grid

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

_VOXELS_AT_ONCE = 4096
_PLANES_AT_ONCE = 2


@dataclass(frozen=True, eq=False)
class Dispute:
    """The voxels that atlases disagree on, and the patches with which each speaks there.

    Parameters
    ----------
    labels : array, shape (atlases, X, Y, Z)
        int32, whole grid.
    voxels : array, shape (voxels, 3)
        Indices of the voxels in dispute.
    corner : array, shape (3,)
        First voxel of the box around them.
    places : array, shape of the box
        Place of each voxel of the box in `voxels`, -1 if the atlases agree on it.
    target : array, shape of the box and its margins
        float32, about the mean; values beyond the image are those of its edge.
    images, votes : array, shape (atlases, ...) of the box and its margins
        Intensities about their mean, and labels, of the atlases.
    reach, window, margin : array, shape (3,)
        Half width of a patch and of the search, and margin on each side, voxels.
    shifts : array, shape (shifts, 3)
        Of the search, the nearest first.
    """

    labels: Int32
    voxels: npt.NDArray[np.int64]
    corner: npt.NDArray[np.int64]
    places: Int32
    target: Float32
    images: Float32
    votes: Int32
    reach: npt.NDArray[np.int64]
    window: npt.NDArray[np.int64]
    margin: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.int64]

    @property
    def inside(self) -> npt.NDArray[np.int64]:
        """`voxels`, counted from the corner of the box's margin."""
        return np.asarray(self.voxels - self.corner + self.margin)


def stack_labels(labels: Sequence[Image]) -> Int32:
    """Labels of all atlases, shape (atlases, X, Y, Z)."""
    if not labels:
        raise InputError("label fusion: expected at least one atlas, found none")
    grid = labels[0].grid
    for image in labels:
        if not image.grid.matches(grid):
            raise InputError(f"labels: expected the grid {grid.shape}, found {image.grid.shape}")
        if image.data.dtype.kind not in "iub":
            raise InputError(f"labels: expected integers, found {image.data.dtype}")
    return np.stack([np.asarray(image.data, dtype=np.int32) for image in labels])


def disputed(labels: Int32) -> npt.NDArray[np.int64]:
    """Indices of the voxels on which atlases disagree, shape (voxels, 3), from labels (atlases, X, Y, Z)."""
    differs = np.empty(labels.shape[1:], np.uint8)
    run_blocks(kernels.disagreement, len(differs), labels, differs)
    return np.argwhere(differs)


def find_dispute(
    target: Image, images: Sequence[Image], labels: Sequence[Image], radius: int, search: int
) -> Dispute:
    """Check what is to be fused, and cut out what the atlases disagree on.

    Raises
    ------
    InputError
        If the numbers of images and labels differ, a grid differs, or a setting is out of range.
    """
    if radius < 1 or search < 0:
        raise InputError(f"label fusion: expected radius >= 1 and search >= 0, found {radius} and {search}")
    if len(images) != len(labels):
        raise InputError(
            f"label fusion: expected an image a label map, found {len(images)} and {len(labels)}"
        )
    grid = target.grid
    for image in (*images, *labels):
        if not image.grid.matches(grid):
            raise InputError(f"atlas: expected the target's grid {grid.shape}, found {image.grid.shape}")
    stack = stack_labels(labels)
    voxels = disputed(stack)
    corner = voxels.min(axis=0) if len(voxels) else np.zeros(3, np.int64)
    shape = voxels.max(axis=0) - corner + 1 if len(voxels) else np.zeros(3, np.int64)
    places = np.full(shape, -1, np.int32)
    places[tuple((voxels - corner).T)] = np.arange(len(voxels))
    solid = np.array(grid.shape) > 1
    reach, window = np.where(solid, radius, 0), np.where(solid, search, 0)
    # one row more: a window that begins before the first voxel of a row begins in the row before
    margin = reach + window + np.array([0, 1, 0])
    cut = np.ix_(
        *(
            np.clip(np.arange(first - side, first + size + side), 0, most - 1)
            for first, size, side, most in zip(corner, shape, margin, grid.shape, strict=True)
        )
    )
    shifts = np.stack(np.meshgrid(*(np.arange(-w, w + 1) for w in window), indexing="ij"), axis=-1)
    shifts = shifts.reshape(-1, 3)
    nearest = np.argsort((shifts**2).sum(axis=1), kind="stable")
    return Dispute(
        labels=stack,
        voxels=voxels,
        corner=corner,
        places=places,
        target=_centred(target.data[cut]),
        images=np.stack([_centred(image.data[cut]) for image in images]),
        votes=np.stack([votes[cut] for votes in stack]),
        reach=reach,
        window=window,
        margin=margin,
        shifts=np.ascontiguousarray(shifts[nearest]),
    )


def best_patches(dispute: Dispute) -> tuple[Float32, Int32]:
    """Correlation and shift of the patch of every atlas that is most like the target's.

    Returns
    -------
    tuple of array, shape (atlases, voxels)
        Correlation, -1 to 1, and index into the dispute's shifts.
    """
    count = (len(dispute.images), len(dispute.voxels))
    likeness, chosen = np.empty(count, np.float32), np.empty(count, np.int32)
    row, planes = dispute.target.shape[2], len(dispute.places)
    fixed = _with_statistics(dispute.target, dispute.reach)
    for atlas, image in enumerate(dispute.images):
        moving = _with_statistics(image, dispute.reach)
        run_blocks(
            patch_kernels.search,
            planes,
            fixed,
            moving,
            row,
            dispute.places,
            dispute.shifts,
            dispute.reach,
            dispute.margin,
            (likeness[atlas], chosen[atlas]),
            block=_PLANES_AT_ONCE,
        )
    return np.clip(likeness, -1, 1), chosen


def joint_weights(dispute: Dispute, chosen: Int32, alpha: float, beta: float) -> Float32:
    """Weights of joint label fusion, shape (atlases, voxels), from the shifts of `best_patches`."""
    weights = np.empty(chosen.shape, np.float32)
    inputs = (dispute.target, dispute.images, dispute.inside, chosen, dispute.shifts, dispute.reach)
    run_blocks(
        patch_kernels.joint_weights,
        len(dispute.voxels),
        *inputs,
        float(alpha),
        float(beta),
        weights,
        block=_VOXELS_AT_ONCE,
    )
    return weights


def vote(dispute: Dispute, weights: Float32, chosen: Int32, grid: Grid) -> tuple[Image, Image]:
    """Fused labels and the winner's share of the weights; where the atlases agree, theirs and 1."""
    count = len(dispute.voxels)
    found, share = np.empty(count, np.int32), np.empty(count, np.float32)
    inputs = (dispute.votes, dispute.inside, dispute.places, weights, chosen, dispute.shifts)
    run_blocks(
        patch_kernels.vote,
        count,
        *inputs,
        dispute.reach,
        dispute.margin,
        (found, share),
        block=_VOXELS_AT_ONCE,
    )
    fused, confidence = dispute.labels[0].copy(), np.ones(grid.shape, np.float32)
    at = tuple(dispute.voxels.T)
    fused[at], confidence[at] = found, share
    return Image(fused, grid), Image(confidence, grid)


def _centred(values: npt.NDArray[np.generic]) -> Float32:
    """Values less their mean: products of large numbers leave few digits for their differences."""
    mean = values.mean(dtype=np.float64) if values.size else 0.0
    return np.asarray(values, dtype=np.float32) - np.float32(mean)


def _with_statistics(image: Float32, reach: npt.NDArray[np.int64]) -> tuple[Float32, Float32, Float32]:
    """Image, and mean and scale of the patch around every voxel; planes are flat."""
    flat = image.reshape(len(image), -1)
    mean, scale = np.zeros_like(flat), np.zeros_like(flat)
    run_blocks(patch_kernels.patch_statistics, len(flat), flat, image.shape[2], reach, mean, scale)
    return flat, mean, scale
