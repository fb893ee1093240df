"""MIND-SSC: differences of descriptors that say how alike small patches around a voxel are to one another.

The self-similarity context of Heinrich et al., MICCAI 2013, doi:10.1007/978-3-642-40811-3_24, normalised as
their MIND is, Medical Image Analysis 16 (2012), doi:10.1016/j.media.2012.05.008. Patches lie around the
neighbours at `dilation` voxels along every axis; those of any two neighbours on different axes are compared,
12 pairs in 3D and 4 in 2D. The descriptor keeps no intensity, so that images of different modality can be
compared, and is local, so that a bias field matters little.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.parallel import run_blocks
from regcore.kernels.self_similarity import compare_patches, describe, gather_forces, patch_forces, pull_ends
from regcore.kernels.smooth import gaussian_smooth, gaussian_taps

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]
VARIANCE_FLOOR = 1e-4


class Pattern(NamedTuple):
    """Where patches are compared.

    Two pairs of neighbours that are parallel to one another are the same comparison, made at two places.

    Parameters
    ----------
    shifts : int array, shape (P, 3)
        From one patch of a comparison to the other, voxels.
    places : int array, shape (K, 3)
        From a voxel to the first patch of each of its pairs, voxels; pair k is comparison ``k // 2``.
    margin : int array, shape (3,)
        How far the patches reach beyond the image.
    """

    shifts: Int64
    places: Int64
    margin: Int64


def pattern(shape: tuple[int, ...], patch_sigma_vox: float, dilation: int) -> Pattern:
    """Patches to compare in an image of this shape; none along a singleton axis.

    Examples
    --------
    >>> [len(pattern(shape, 0.8, 2).places) for shape in ((9, 9, 9), (9, 9, 1))]
    [12, 4]
    """
    wide = [axis for axis in range(3) if shape[axis] > 1]
    if len(wide) < 2:
        raise InputError(f"mind: expected an image in two or three dimensions, found the shape {shape}")
    step = dilation * np.eye(3, dtype=np.int64)
    shifts, places = [], []
    for a, b in ((a, b) for a in wide for b in wide if a < b):
        for other in (step[b], -step[b]):
            # from +a to +b, and from -b to -a, which is the same way
            shifts.append(other - step[a])
            places += [step[a], -other]
    reach = dilation + len(gaussian_taps(patch_sigma_vox)) // 2
    margin = np.array([reach if n > 1 else 0 for n in shape])
    return Pattern(np.array(shifts), np.array(places), margin)


class Workspace(NamedTuple):
    """What evaluations for one fixed image share.

    Parameters
    ----------
    descriptor : float32 array, shape (K, X, Y, Z)
        Of the fixed image.
    forces : float32 array, shape (K, X, Y, Z)
        Buffer.
    distances : float32 array, shape (P, X + 2 margin, Y + 2 margin, Z + 2 margin)
        Buffer.
    scratch : float32 array, of the shape of a distance
        Buffer.
    """

    descriptor: Float32
    forces: Float32
    distances: Float32
    scratch: Float32


def _patch_distances(image: Float32, where: Pattern, sigma: float, out: Float32, scratch: Float32) -> None:
    for shift, distance in zip(where.shifts, out, strict=True):
        run_blocks(compare_patches, image.shape[0], image, shift, scratch)
        gaussian_smooth(scratch, sigma, out=distance)


def _padded(image: Float32, margin: Int64) -> Float32:
    return np.pad(image, [(int(n), int(n)) for n in margin], mode="edge")


def _folded(padded: Float32, margin: Int64) -> Float32:
    """The transpose of `_padded`: what the margins hold goes to the edges that they repeat."""
    for axis, n in enumerate(int(n) for n in margin):
        if n > 0:
            along = np.moveaxis(padded, axis, 0)
            along[n] += along[:n].sum(axis=0)
            along[-n - 1] += along[-n:].sum(axis=0)
            padded = np.moveaxis(along[n:-n], 0, axis)
    return np.ascontiguousarray(padded)


def prepare(fixed: Float32, patch_sigma_vox: float = 0.8, dilation: int = 1) -> Workspace:
    """Descriptor of a fixed image, and buffers for `value_and_gradient`.

    Parameters
    ----------
    fixed : float32 array, shape (X, Y, Z)
        Intensities of a range of about one (the variance floor, 1e-4, is in these units).
    patch_sigma_vox : float
        Standard deviation of the Gaussian that weighs the voxels of a patch, voxels.
    dilation : int
        Distance of the patches from the voxel they describe, voxels.

    Raises
    ------
    InputError
        If the image has fewer than two dimensions.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> prepare(image).descriptor.shape
    (12, 8, 8, 8)
    """
    where = pattern(fixed.shape, patch_sigma_vox, dilation)
    padded = _padded(fixed, where.margin)
    distances, scratch = np.empty((len(where.shifts), *padded.shape), np.float32), np.empty_like(padded)
    descriptor = np.empty((len(where.places), *fixed.shape), np.float32)
    _patch_distances(padded, where, patch_sigma_vox, distances, scratch)
    floor = np.float32(VARIANCE_FLOOR)
    run_blocks(describe, fixed.shape[0], distances, where.places, where.margin, floor, descriptor)
    return Workspace(descriptor, np.empty_like(descriptor), distances, scratch)


def value_and_gradient(
    fixed: Float32,
    warped: Float32,
    weights: Float32 | None = None,
    patch_sigma_vox: float = 0.8,
    dilation: int = 1,
    prepared: Workspace | None = None,
) -> tuple[float, Float32]:
    """Weighted mean squared difference of descriptors, and its exact gradient with respect to `warped`.

    Parameters
    ----------
    fixed, warped : float32 array, shape (X, Y, Z)
        Intensities of a range of about one (the variance floor, 1e-4, is in these units).
    weights : float32 array, shape (X, Y, Z), optional
        How much the descriptor of each voxel counts.
    patch_sigma_vox, dilation
        See `prepare`.
    prepared : Workspace, optional
        From `prepare` with the same fixed image and settings, to save the work.

    Raises
    ------
    InputError
        If the images have fewer than two dimensions.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> value, gradient = value_and_gradient(image, 1 - image)
    >>> bool(value < 1e-6)
    True
    """
    where = pattern(fixed.shape, patch_sigma_vox, dilation)
    work = prepare(fixed, patch_sigma_vox, dilation) if prepared is None else prepared
    if weights is None:
        weights = np.ones(fixed.shape, np.float32)
    padded = _padded(warped, where.margin)
    _patch_distances(padded, where, patch_sigma_vox, work.distances, work.scratch)
    parts = run_blocks(
        patch_forces,
        fixed.shape[0],
        work.distances,
        where.places,
        where.margin,
        np.float32(VARIANCE_FLOOR),
        work.descriptor,
        weights,
        work.forces,
    )
    total = max(float(weights.sum(dtype=np.float64)), 1.0) * len(where.places)
    gradient = np.zeros_like(padded)
    force, scale = work.distances[0], np.float32(2 / total)
    for number, shift in enumerate(where.shifts):
        pair = slice(2 * number, 2 * number + 2)
        run_blocks(gather_forces, padded.shape[0], work.forces[pair], where.places[pair], where.margin, force)
        smooth = gaussian_smooth(force, patch_sigma_vox, out=work.scratch)
        run_blocks(pull_ends, padded.shape[0], padded, smooth, shift, scale, gradient)
    return sum(parts) / total, _folded(gradient, where.margin)
