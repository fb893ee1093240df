"""Fuse the labels that several atlases propose for one target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.parallel import run_blocks
from regcore.labels import kernels

Float32 = npt.NDArray[np.float32]

_VOXELS_AT_ONCE = 4096
_VOXELS_IN_MEMORY = 65536


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
    neighbour_sigma_vox: float = 0.5,
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
        How strongly likeness counts; 0 is the plain vote.
    neighbour_sigma_vox : float
        Width, in voxels, of the Gaussian by which the votes of the 26 neighbours are heard too, which keeps
        borders smooth; 0 hears none.

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

    def normalised(weights: Float32, _: Float32) -> Float32:
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    settings = (radius, search, power, neighbour_sigma_vox)
    return _fuse(target, images, labels, settings, normalised, joint=False)


def joint_fusion(
    target: Image,
    images: Sequence[Image],
    labels: Sequence[Image],
    radius: int = 2,
    search: int = 0,
    beta: float = 2.0,
    alpha: float = 0.5,
    neighbour_sigma_vox: float = 0.5,
) -> tuple[Image, Image]:
    """Joint label fusion: weights that also know which atlases err together.

    At each voxel the weights minimise the expected error ``w' M w`` with ``sum w = 1``, where ``M`` holds the
    products of the atlases' absolute patch differences, to the power `beta`. Only voxels on which the atlases
    disagree are looked at.

    Parameters
    ----------
    target, images, labels, radius, search, neighbour_sigma_vox
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

    def minimising(_: Float32, residuals: Float32) -> Float32:
        atlases = residuals.shape[1]
        # relative to the mean diagonal, so that single precision and alpha suit every contrast
        scale = np.trace(residuals, axis1=1, axis2=2)[:, None, None] / atlases
        matrix = (residuals.astype(np.float64) / np.maximum(scale, 1e-12)) ** beta
        level = np.trace(matrix, axis1=1, axis2=2) / atlases
        matrix[:, range(atlases), range(atlases)] += (alpha * np.maximum(level, 1e-6))[:, None]
        solved = np.linalg.solve(matrix, np.ones((len(matrix), atlases, 1)))[..., 0]
        # a negative weight would take votes away from a label that others propose
        positive = np.maximum(solved, 0.0)
        return np.asarray(positive / positive.sum(axis=1, keepdims=True), dtype=np.float32)

    settings = (radius, search, 1.0, neighbour_sigma_vox)
    return _fuse(target, images, labels, settings, minimising, joint=True)


def _fuse(
    target: Image,
    images: Sequence[Image],
    labels: Sequence[Image],
    settings: tuple[int, int, float, float],
    weigh: Callable[[Float32, Float32], Float32],
    joint: bool,
) -> tuple[Image, Image]:
    """Weigh atlases where they disagree and let them vote; `weigh` takes likenesses and joint residuals."""
    radius, search, power, sigma = settings
    if radius < 1 or search < 0 or power < 0 or sigma < 0:
        raise InputError(
            "label fusion: expected radius >= 1, search, power and neighbour_sigma_vox >= 0, "
            f"found {radius}, {search}, {power:g} and {sigma:g}"
        )
    if len(images) != len(labels):
        raise InputError(
            f"label fusion: expected an image a label map, found {len(images)} and {len(labels)}"
        )
    grid = target.grid
    for image in (*images, *labels):
        if not image.grid.matches(grid):
            raise InputError(f"atlas: expected the target's grid {grid.shape}, found {image.grid.shape}")
    stack = _stack_labels(labels)
    atlases = stack.shape[3]
    differs = np.empty(grid.shape, np.uint8)
    run_blocks(kernels.disagreement, grid.shape[0], stack, differs)
    voxels = np.argwhere(differs)
    places = np.full(grid.shape, -1, np.int32)
    places[differs != 0] = np.arange(len(voxels))

    solid = np.array(grid.shape) > 1
    reach, window = np.where(solid, radius, 0), np.where(solid, search, 0)
    intensities = np.stack([np.asarray(image.data, dtype=np.float32) for image in images])
    data = np.asarray(target.data, dtype=np.float32)
    weights = np.empty((len(voxels), atlases), np.float32)
    chosen = np.empty((len(voxels), atlases), np.int32)
    for start in range(0, len(voxels), _VOXELS_IN_MEMORY):
        part = slice(start, start + _VOXELS_IN_MEMORY)
        count = len(voxels[part])
        residuals = np.empty((count, atlases, atlases) if joint else (count, 0, 0), np.float32)
        out = (weights[part], chosen[part], residuals)
        arguments = (data, intensities, stack, voxels[part], reach, window, np.float32(power), out)
        run_blocks(kernels.weigh, count, *arguments, block=_VOXELS_AT_ONCE)
        weights[part] = weigh(weights[part], residuals)

    squares = np.square(np.arange(-1, 2))
    distances = squares[:, None, None] + squares[:, None] + squares
    nearby = np.exp(-distances / (2 * max(sigma, 1e-3) ** 2)).astype(np.float32)
    fused, confidence = stack[..., 0].copy(), np.ones(grid.shape, np.float32)
    ballot: tuple[Any, ...] = (stack, voxels, places, weights, chosen, nearby, (fused, confidence))
    run_blocks(kernels.vote, len(voxels), *ballot, block=_VOXELS_AT_ONCE)
    return Image(fused, grid), Image(confidence, grid)


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
