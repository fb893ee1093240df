"""Scale space: an image on cubic voxels, blurred step by step, octave by octave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.features.settings import KeypointSettings
from regcore.image import Image
from regcore.kernels.smooth import gaussian_smooth, gaussian_taps
from regcore.resample import resample
from regcore.space import Array, Grid

Float32 = npt.NDArray[np.float32]

# what a voxel of a scanner's image is taken to be blurred by already (Lowe 2004, section 3.3)
NATIVE_SIGMA_VOX = 0.5
FEWEST_VOXELS = 12
MOST_VOXELS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Octave:
    """Images of one octave, all on one grid.

    Parameters
    ----------
    grid : Grid
        Cubic voxels.
    images : float32 array, shape (scales + 3, X, Y, Z)
        Ever more blurred; in units of the intensity range of the whole image.
    sigmas_mm : array, shape (scales + 3,)
        Blur of each.
    """

    grid: Grid
    images: Float32
    sigmas_mm: Array


def scale_space(image: Image, settings: KeypointSettings, mask: Image | None = None) -> list[Octave]:
    """Octaves of Gaussian images, from the finest on.

    The image is first brought to cubic voxels, since blur, extrema and their curvatures then mean the same
    along every axis. An octave has twice the voxel size and blur of the one before; octaves go on while the
    shortest axis has at least twelve voxels.

    Parameters
    ----------
    image : Image
        Any intensity scale.
    settings : KeypointSettings
    mask : Image, optional
        On the grid of `image`; the intensity range is that of the voxels inside.

    Returns
    -------
    list of Octave

    Raises
    ------
    InputError
        If the image is constant, not finite or too small, or the mask is empty or on another grid.

    References
    ----------
    Lowe (2004), "Distinctive image features from scale-invariant keypoints", IJCV 60(2),
    doi:10.1023/B:VISI.0000029664.99615.94.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((32, 32, 16), np.float32)
    >>> octaves = scale_space(Image(noise, Grid(noise.shape, np.diag([1.0, 1, 2, 1]))), KeypointSettings())
    >>> [octave.grid.shape for octave in octaves]
    [(26, 26, 26), (13, 13, 13)]
    >>> round(float(octaves[1].sigmas_mm[0]), 2)
    2.52
    """
    low, high = _intensity_range(image, mask)
    cubic, blur = _cubic(image, settings.voxel_mm)
    wide = np.array(cubic.grid.shape) > 1
    if wide.sum() < 2 or min(n for n in cubic.grid.shape if n > 1) < FEWEST_VOXELS:
        raise InputError(
            f"image: expected at least {FEWEST_VOXELS} cubic voxels along two or three axes, "
            f"found {cubic.grid.shape}"
        )
    data = (cubic.data - np.float32(low)) / np.float32(high - low)
    first = gaussian_smooth(data, np.sqrt(np.maximum(settings.sigma_vox**2 - blur**2, 0)).tolist())
    sigmas = settings.sigma_vox * 2.0 ** (np.arange(settings.scales + 3) / settings.scales)
    grid, octaves = cubic.grid, []
    while True:
        images = np.empty((len(sigmas), *grid.shape), np.float32)
        images[0] = first
        for k in range(1, len(sigmas)):
            more = float(np.sqrt(sigmas[k] ** 2 - sigmas[k - 1] ** 2))
            gaussian_smooth(images[k - 1], sampled_sigma(more), out=images[k])
        octaves.append(Octave(grid, images, sigmas * float(grid.spacing[wide].max())))
        steps = np.where(wide, 2, 1)
        shape = tuple(-(-n // step) for n, step in zip(grid.shape, steps, strict=True))
        if min(n for n, is_wide in zip(shape, wide, strict=True) if is_wide) < FEWEST_VOXELS:
            return octaves
        first = np.ascontiguousarray(images[settings.scales][:: steps[0], :: steps[1], :: steps[2]])
        grid = Grid((shape[0], shape[1], shape[2]), grid.affine @ np.diag([*steps, 1.0]))


def sampled_sigma(sigma_vox: float) -> float:
    """Standard deviation to ask of a narrow Gaussian whose few sampled taps shall have `sigma_vox`.

    Sampling and cutting take five percent off the variance of a Gaussian of half a voxel, enough to feign
    extrema across scales.

    Examples
    --------
    >>> round(sampled_sigma(0.566), 3), round(sampled_sigma(2.0), 3)
    (0.577, 2.002)
    """
    asked = sigma_vox
    for _ in range(10):
        taps = gaussian_taps(asked).astype(np.float64)
        variance = float((taps * (np.arange(len(taps)) - len(taps) // 2) ** 2).sum())
        asked *= sigma_vox / max(float(np.sqrt(variance)), 0.1)
    return asked


def _intensity_range(image: Image, mask: Image | None) -> tuple[float, float]:
    if not np.isfinite(image.data).all():
        raise InputError("image: expected finite intensities, found NaN or infinity")
    if mask is not None and not mask.grid.matches(image.grid):
        raise InputError(f"mask: expected the grid of its image {image.grid.shape}, found {mask.grid.shape}")
    inside = image.data if mask is None else image.data[mask.data != 0]
    if inside.size == 0:
        raise InputError("mask: expected at least one voxel, found an empty mask")
    low, high = (float(value) for value in np.percentile(inside, [1.0, 99.0]))
    if high <= low:
        # a few bright specks on a flat background
        low, high = float(inside.min()), float(inside.max())
    if high <= low:
        raise InputError(f"image: expected an image with contrast, found the constant {low:g}")
    return low, high


def _cubic(image: Image, voxel_mm: float) -> tuple[Image, Array]:
    """An image on cubic voxels, and the blur it has along each axis, in these voxels."""
    grid = image.grid
    wide = np.array(grid.shape) > 1
    size = voxel_mm or float(np.exp(np.log(grid.spacing[wide]).mean())) if wide.any() else 1.0
    factors = np.where(wide, size / grid.spacing, 1.0)
    blur = np.where(wide, NATIVE_SIGMA_VOX * np.maximum(1 / factors, 1), 0.0)
    if np.abs(factors - 1).max() < 0.01:
        return Image(image.data.astype(np.float32), grid), blur
    target = grid.shrink(factors.tolist())
    if target.size > MOST_VOXELS:
        raise InputError(
            f"keypoints.voxel_mm: expected larger voxels, found {size:g} mm ({target.size:.2g} voxels)"
        )
    # no coarser voxel may carry what it cannot represent
    smooth = gaussian_smooth(
        image.data.astype(np.float32), (NATIVE_SIGMA_VOX * np.sqrt(np.maximum(factors**2 - 1, 0))).tolist()
    )
    return resample(Image(smooth, grid), target, interpolation="cubic"), blur
