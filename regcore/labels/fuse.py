"""Fuse the labels that several atlases propose for one target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.parallel import run_blocks
from regcore.labels import kernels

_VOXELS_AT_ONCE = 4096


def majority_vote(labels: Sequence[Image]) -> tuple[Image, Image]:
    """The label that most atlases propose; of equally frequent ones the smallest.

    Parameters
    ----------
    labels : sequence of Image
        Integer labels on one grid, one image an atlas.

    Returns
    -------
    tuple of Image
        Labels (int32) and confidence, the winner's share of the votes (float32, 0 to 1).

    Raises
    ------
    InputError
        If there is no atlas, or the grids differ, or labels are not integers.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((1, 1, 1), np.eye(4))
    >>> three = [Image(np.full((1, 1, 1), value, np.int32), grid) for value in (4, 7, 7)]
    >>> fused, confidence = majority_vote(three)
    >>> fused.data.item(), round(confidence.data.item(), 3)
    (7, 0.667)
    """
    stack = _stack_labels(labels)
    grid = labels[0].grid
    fused, confidence = np.empty(grid.shape, np.int32), np.empty(grid.shape, np.float32)
    run_blocks(kernels.majority, grid.shape[0], stack, fused, confidence)
    return Image(fused, grid), Image(confidence, grid)


def local_weighted_vote(
    target: Image,
    images: Sequence[Image],
    labels: Sequence[Image],
    radius: int = 2,
    search: int = 0,
    power: float = 2.0,
) -> tuple[Image, Image]:
    """Vote in which an atlas counts as much as it looks like the target around the voxel.

    Patches are brought to zero mean and unit length, so that brightness and contrast do not matter; the
    weight is the squared distance of the patches to the power of ``-power``. Only voxels on which the
    atlases disagree are looked at.

    Parameters
    ----------
    target : Image
        Intensities of the target.
    images, labels : sequence of Image
        Intensities and labels of each atlas, on the target's grid.
    radius : int
        Patches reach this many voxels from their middle; 0 < radius.
    search : int
        An atlas may offer the best patch within this many voxels, with the label at its middle; 0 looks
        at the voxel itself only.
    power : float
        How strongly likeness counts; 0 is the majority vote.

    Returns
    -------
    tuple of Image
        Labels (int32) and confidence, the winner's share of the weights (float32, 0 to 1).

    Raises
    ------
    InputError
        If the numbers of images and labels differ, a grid differs, or a setting is out of range.

    References
    ----------
    Artaechevarria, X. et al. (2009), doi:10.1109/TMI.2009.2014372; Coupe, P. et al. (2011),
    doi:10.1016/j.neuroimage.2010.09.018.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((5, 5, 1), np.eye(4))
    >>> edge, flat = np.zeros((5, 5, 1), np.float32), np.zeros((5, 5, 1), np.float32)
    >>> edge[3:], flat[:, 3:] = 1, 1
    >>> images = [Image(edge, grid), Image(flat, grid), Image(flat, grid)]
    >>> maps = [Image(np.full((5, 5, 1), value, np.int32), grid) for value in (1, 2, 2)]
    >>> local_weighted_vote(images[0], images, maps)[0].data[2, 2, 0]
    np.int32(1)
    """
    stack, fused, confidence, voxels = _start(target, images, labels)
    for part in _parts(voxels):
        weights, chosen, _ = _weigh(target, images, stack, part, radius, search, power)
        run_blocks(kernels.vote, len(part), part, weights, chosen, fused, confidence, block=_VOXELS_AT_ONCE)
    return Image(fused, target.grid), Image(confidence, target.grid)


def joint_fusion(
    target: Image,
    images: Sequence[Image],
    labels: Sequence[Image],
    radius: int = 2,
    search: int = 1,
    beta: float = 2.0,
    alpha: float = 0.1,
) -> tuple[Image, Image]:
    """Joint label fusion: weights that also know which atlases err together.

    At each voxel the weights minimise the expected error ``w' M w`` with ``sum w = 1``, where ``M`` holds the
    products of the atlases' absolute patch differences, to the power `beta`. Only voxels on which the atlases
    disagree are looked at.

    Parameters
    ----------
    target, images, labels, radius, search
        As for `local_weighted_vote`.
    beta : float
        Exponent of the entries of ``M``, above 0.
    alpha : float
        Conditioning: this share of the mean diagonal of ``M`` is added to its diagonal, above 0.

    Returns
    -------
    tuple of Image
        Labels (int32) and confidence, the winner's share of the weights (float32, 0 to 1).

    Raises
    ------
    InputError
        As for `local_weighted_vote`.

    References
    ----------
    Wang, H. et al. (2013), doi:10.1109/TPAMI.2012.143.
    """
    if not (alpha > 0 and beta > 0):
        raise InputError(f"alpha, beta: expected both above 0, found {alpha:g} and {beta:g}")
    stack, fused, confidence, voxels = _start(target, images, labels)
    atlases = stack.shape[3]
    for part in _parts(voxels):
        _, chosen, residuals = _weigh(target, images, stack, part, radius, search, 1.0)
        # relative to the mean diagonal, so that single precision and alpha suit every contrast
        scale = np.trace(residuals, axis1=1, axis2=2)[:, None, None] / atlases
        matrix = (residuals.astype(np.float64) / np.maximum(scale, 1e-12)) ** beta
        level = np.trace(matrix, axis1=1, axis2=2) / atlases
        matrix[:, range(atlases), range(atlases)] += (alpha * np.maximum(level, 1e-6))[:, None]
        solved = np.linalg.solve(matrix, np.ones((len(part), atlases, 1)))[..., 0]
        # a negative weight would take votes away from a label that others propose
        weights = np.maximum(solved, 0.0)
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        run_blocks(kernels.vote, len(part), part, weights, chosen, fused, confidence, block=_VOXELS_AT_ONCE)
    return Image(fused, target.grid), Image(confidence, target.grid)


def _stack_labels(labels: Sequence[Image]) -> npt.NDArray[np.int32]:
    """Labels of all atlases with the atlas as last axis, shape (X, Y, Z, atlases)."""
    if not labels:
        raise InputError("label fusion: expected at least one atlas, found none")
    grid = labels[0].grid
    for image in labels:
        if not image.grid.matches(grid):
            raise InputError(f"labels: expected the grid {grid.shape}, found {image.grid.shape}")
        if image.data.dtype.kind not in "iub":
            raise InputError(f"labels: expected integers, found {image.data.dtype}")
    stack = np.empty((*grid.shape, len(labels)), np.int32)
    for index, image in enumerate(labels):
        stack[..., index] = image.data
    return stack


def _start(
    target: Image, images: Sequence[Image], labels: Sequence[Image]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Stacked labels, the result where all atlases agree, and the voxels where they do not."""
    if len(images) != len(labels):
        raise InputError(
            f"label fusion: expected an image a label map, found {len(images)} and {len(labels)}"
        )
    for image in (*images, *labels):
        if not image.grid.matches(target.grid):
            raise InputError(
                f"atlas: expected the target's grid {target.grid.shape}, found {image.grid.shape}"
            )
    stack = _stack_labels(labels)
    differs = np.empty(target.grid.shape, np.uint8)
    run_blocks(kernels.disagreement, target.grid.shape[0], stack, differs)
    return stack, stack[..., 0].copy(), np.ones(target.grid.shape, np.float32), np.argwhere(differs)


def _parts(voxels: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Portions of the voxels whose weights fit into little memory."""
    return [voxels[start : start + 65536] for start in range(0, len(voxels), 65536)]


def _weigh(
    target: Image,
    images: Sequence[Image],
    stack: npt.NDArray[np.int32],
    voxels: npt.NDArray[np.int64],
    radius: int,
    search: int,
    power: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Weights and chosen labels, shape (voxels, atlases), and joint residuals (voxels, atlases, atlases)."""
    if radius < 1 or search < 0 or power < 0:
        raise InputError(
            "label fusion: expected radius >= 1, search >= 0 and power >= 0, "
            f"found {radius}, {search} and {power:g}"
        )
    atlases = stack.shape[3]
    solid = np.array(target.grid.shape) > 1
    reach, window = np.where(solid, radius, 0), np.where(solid, search, 0)
    out: Any = (
        np.empty((len(voxels), atlases), np.float32),
        np.empty((len(voxels), atlases), np.int32),
        np.empty((len(voxels), atlases, atlases), np.float32),
    )
    intensities = np.stack([np.asarray(image.data, dtype=np.float32) for image in images])
    data = np.asarray(target.data, dtype=np.float32)
    arguments = (data, intensities, stack, voxels, reach, window, np.float32(power), out)
    run_blocks(kernels.weigh, len(voxels), *arguments, block=_VOXELS_AT_ONCE)
    return out[0], out[1], out[2]
