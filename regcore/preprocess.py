"""What every image goes through before it is registered: foreground mask, bias field, intensity scale."""

from __future__ import annotations

import importlib

import numpy as np
import numpy.typing as npt
import scipy

from regcore.errors import InputError
from regcore.image import Image

FOREGROUND_MEDIAN = 0.5
"""Where `normalise_intensity` puts the median of the foreground."""

_ANALYSIS_VOXELS = 400_000
"""Masks are found on a copy with about this many voxels: an outline needs no more."""


def foreground_mask(image: Image, threshold_share: float = 0.7) -> Image:
    """Mask of the object in an image: one solid component without holes.

    The threshold starts from Otsu's on the logarithm-like square root of winsorised intensities, which keeps
    dim tissue on the object's side; noise and detached pieces go by opening and by keeping the largest
    component. An image whose background is exactly zero (skull-stripped) keeps its own outline.

    Parameters
    ----------
    image : Image
        Intensities, any scale, negative values allowed.
    threshold_share : float
        Share of Otsu's threshold that is used, in (0, 1]; smaller takes in dimmer voxels.

    Returns
    -------
    Image
        uint8, 1 in the foreground, on the grid of `image`.

    Raises
    ------
    InputError
        If the image is constant or not finite.

    References
    ----------
    Otsu, N. (1979), doi:10.1109/TSMC.1979.4310076.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> data = np.zeros((20, 20, 20), np.float32)
    >>> data[5:15, 5:15, 5:15] = 100
    >>> int(foreground_mask(Image(data, Grid(data.shape, np.eye(4)))).data.sum())
    1000
    """
    data = np.asarray(image.data, dtype=np.float32)
    if not np.isfinite(data).all():
        raise InputError("image: expected finite intensities, found NaN or infinity")
    floor, top = (float(value) for value in np.percentile(data, [0.0, 99.5]))
    if not data.max() > floor:
        raise InputError(f"image: expected an object and a background, found the constant {floor:g}")
    if top <= floor:  # an object smaller than half a percent of the image
        top = float(data.max())
    if is_stripped(image):
        return Image(_solid(data > floor, closing=1), image.grid)

    factors = _shrink_factors(data.shape)
    coarse = _block_mean(data, factors)
    root = np.sqrt(np.clip((coarse - floor) / (top - floor), 0.0, 1.0))
    level = threshold_share * _otsu(root)
    mask = _largest_component(_open(root > level, 1))
    mask = _solid(mask, closing=2) != 0
    if any(factor > 1 for factor in factors):
        fine = np.repeat(np.repeat(np.repeat(mask, factors[0], 0), factors[1], 1), factors[2], 2)
        mask = np.pad(
            fine, [(0, max(n - m, 0)) for n, m in zip(data.shape, fine.shape, strict=True)], mode="edge"
        )[: data.shape[0], : data.shape[1], : data.shape[2]]
    if not mask.any():
        raise InputError("image: expected an object larger than noise, found no foreground")
    return Image(np.ascontiguousarray(mask, dtype=np.uint8), image.grid)


def normalise_intensity(
    image: Image, mask: Image | None = None, lower: float = 0.5, upper: float = 99.5
) -> Image:
    """Clip outlying intensities and bring the foreground to a fixed scale.

    Values are clipped to the `lower` percentile of the image and the `upper` percentile of the foreground,
    then scaled piecewise: the lower limit to 0, the foreground's median to 0.5, the upper limit to 1. The map
    is continuous and increasing, so that no edge is lost and every subject counts the same in an average.

    Parameters
    ----------
    image : Image
        Intensities, any scale.
    mask : Image, optional
        The foreground, on the grid of `image`; `foreground_mask` of the image where not given.
    lower, upper : float
        Percentiles, 0 <= lower < upper <= 100.

    Returns
    -------
    Image
        float32 in [0, 1].

    Raises
    ------
    InputError
        If the percentiles are not increasing, or the foreground is empty, constant or on another grid.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> data = np.arange(1001, dtype=np.float32).reshape(1001, 1, 1)
    >>> grid = Grid(data.shape, np.eye(4))
    >>> scaled = normalise_intensity(Image(data, grid), Image(np.ones(data.shape, np.uint8), grid))
    >>> [round(float(value), 3) for value in scaled.data[[0, 500, 1000], 0, 0]]
    [0.0, 0.5, 1.0]
    """
    if not 0.0 <= lower < upper <= 100.0:
        raise InputError(f"lower, upper: expected 0 <= lower < upper <= 100, found {lower:g} and {upper:g}")
    mask = foreground_mask(image) if mask is None else mask
    if not mask.grid.matches(image.grid):
        raise InputError(f"mask: expected the grid of the image {image.grid.shape}, found {mask.grid.shape}")
    inside = mask.data != 0
    if not inside.any():
        raise InputError("mask: expected a foreground, found no voxel above 0")
    data = np.asarray(image.data, dtype=np.float32)
    foreground = data[inside]
    low = float(np.percentile(data, lower))
    middle, high = (float(value) for value in np.percentile(foreground, [50.0, upper]))
    if not high > low:
        raise InputError(f"image: expected a foreground with contrast, found the constant {high:g}")
    # a median on a limit (a binary image, for one) leaves one of the two pieces empty: one straight line then
    middle = middle if low < middle < high else (low + high) / 2
    below = (data - low) * np.float32(FOREGROUND_MEDIAN / (middle - low))
    above = FOREGROUND_MEDIAN + (data - middle) * np.float32((1 - FOREGROUND_MEDIAN) / (high - middle))
    scaled = np.clip(np.where(data < middle, below, above), 0.0, 1.0)
    return Image(scaled.astype(np.float32), image.grid)


def correct_bias(image: Image, mask: Image | None = None, shrink: int = 4) -> Image:
    """Remove the slow intensity drift of a scanner with N4.

    The field is fitted on an image shrunk by `shrink` and applied at full resolution. Needs SimpleITK
    (``pip install "regcore[formats]"``).

    Parameters
    ----------
    image : Image
        Intensities; values at or below zero stay as they are.
    mask : Image, optional
        Where the field is fitted; `foreground_mask` of the image where not given.
    shrink : int
        Shrink factor of the fit, at least 1; a short axis is shrunk less.

    Returns
    -------
    Image
        float32, on the grid of `image`.

    Raises
    ------
    InputError
        If SimpleITK is not installed, or the mask lies on another grid.

    References
    ----------
    Tustison, N. et al. (2010), doi:10.1109/TMI.2010.2046908.
    """
    try:
        sitk = importlib.import_module("SimpleITK")
    except ImportError as error:
        raise InputError(
            'bias correction: expected SimpleITK, found none installed (pip install "regcore[formats]")'
        ) from error
    mask = foreground_mask(image) if mask is None else mask
    if not mask.grid.matches(image.grid):
        raise InputError(f"mask: expected the grid of the image {image.grid.shape}, found {mask.grid.shape}")
    axes = [axis for axis, count in enumerate(image.grid.shape) if count > 1]
    shape = [image.grid.shape[axis] for axis in axes]
    spacing = [float(image.grid.spacing[axis]) for axis in axes]

    def to_sitk(data: npt.NDArray[np.generic]) -> object:
        converted = sitk.GetImageFromArray(np.asarray(data).reshape(shape).T)
        converted.SetSpacing(spacing)
        return converted

    full = to_sitk(np.asarray(image.data, dtype=np.float32))
    inside = to_sitk(((mask.data != 0) & (image.data > 0)).astype(np.uint8))
    factors = [max(1, min(int(shrink), count // 8)) for count in shape]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([50, 50, 30])
    corrector.SetConvergenceThreshold(1e-3)
    corrector.SetNumberOfThreads(1)  # threads change the order of its sums, and so the last bits
    corrector.Execute(sitk.Shrink(full, factors), sitk.Shrink(inside, factors))
    log_field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(full)).T.reshape(image.grid.shape)
    log_field = log_field - log_field[mask.data != 0].mean()  # keeps the overall brightness
    corrected = np.asarray(image.data, dtype=np.float32) * np.exp(-log_field)
    return Image(corrected.astype(np.float32), image.grid)


def is_stripped(image: Image) -> bool:
    """Whether the darkest voxels are a removed background: many, and dark neighbours rare in what is left.

    What is left must be mostly object, and so not much darker than its brighter class: around an average of
    noisy images lies a background of small positive values, with exact zeros only where no image reached.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> data = np.zeros((20, 20, 20), np.float32)
    >>> data[5:15, 5:15, 5:15] = 100
    >>> is_stripped(Image(data, Grid(data.shape, np.eye(4))))
    True
    """
    data = np.asarray(image.data, dtype=np.float32)
    floor = float(data.min())
    above = data[data > floor] - floor
    if above.size == 0 or above.size >= 0.75 * data.size:
        return False
    middle = float(np.median(above))
    root = np.sqrt(np.clip(above / np.percentile(above, 99.5), 0.0, 1.0))
    if middle < 0.4 * float(np.median(above[root > _otsu(root)])):
        return False
    return float((above < 0.15 * middle).mean()) < 0.1


def _otsu(values: npt.NDArray[np.float32], bins: int = 256) -> float:
    """Threshold with the largest variance between the two classes."""
    counts, edges = np.histogram(values, bins=bins, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    first = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (first / below - (first[-1] - first) / above) ** 2
    return float(edges[1:][np.nanargmax(np.where(np.isfinite(between), between, -1.0))])


def _shrink_factors(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Whole factors that bring a shape to about the number of voxels used for analysis."""
    excess = np.prod(shape) / _ANALYSIS_VOXELS
    axes = sum(count > 1 for count in shape) or 1
    wanted = max(1, round(float(excess) ** (1 / axes)))
    factors = [max(1, min(wanted, count // 16)) for count in shape]
    return factors[0], factors[1], factors[2]


def _block_mean(data: npt.NDArray[np.float32], factors: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Mean of whole blocks of voxels; the last incomplete ones are filled up with the edge."""
    padded = np.pad(
        data, [(0, -n % factor) for n, factor in zip(data.shape, factors, strict=True)], mode="edge"
    )
    x, y, z = (n // factor for n, factor in zip(padded.shape, factors, strict=True))
    blocks = padded.reshape(x, factors[0], y, factors[1], z, factors[2])
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def _element(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Cross of face neighbours that never leaves a singleton axis."""
    element = np.zeros((3, 3, 3), dtype=bool)
    element[1, 1, 1] = True
    for axis, count in enumerate(shape):
        if count > 1:
            index: list[int | slice] = [1, 1, 1]
            index[axis] = slice(None)
            element[tuple(index)] = True
    return element


def _open(mask: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.bool_]:
    """Opening that treats the outside of the image as object: an object cut by the edge keeps its edge."""
    element = _element(mask.shape)
    eroded = scipy.ndimage.binary_erosion(mask, element, iterations=radius, border_value=1)
    return np.asarray(scipy.ndimage.binary_dilation(eroded, element, iterations=radius) & mask)


def _largest_component(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The component of face neighbours with the most voxels."""
    labelled, count = scipy.ndimage.label(mask)
    if count == 0:
        return mask
    return np.asarray(labelled == np.bincount(labelled.ravel())[1:].argmax() + 1)


def _solid(mask: npt.NDArray[np.bool_], closing: int) -> npt.NDArray[np.uint8]:
    """Close gaps and fill holes, also those open at one face of the image such as a neck."""
    element = _element(mask.shape)
    pad = [(closing if count > 1 else 0,) * 2 for count in mask.shape]
    padded = np.pad(mask, pad, mode="edge")
    closed = scipy.ndimage.binary_closing(padded, element, iterations=closing)
    inner = tuple(slice(low, n - high) for (low, high), n in zip(pad, closed.shape, strict=True))
    closed = closed[inner] | mask
    planes = [axis for axis, count in enumerate(mask.shape) if count == 1]
    if planes:
        flat = np.squeeze(closed, axis=tuple(planes))
        return np.asarray(scipy.ndimage.binary_fill_holes(flat).reshape(mask.shape), dtype=np.uint8)
    # holes of single slices: sinuses and ventricles that a 3D fill sees as open through the neck
    filled = np.asarray(scipy.ndimage.binary_fill_holes(closed))
    votes = np.zeros(mask.shape, dtype=np.uint8)
    for axis in range(3):
        moved = np.moveaxis(filled, axis, 0)
        slices = np.stack([scipy.ndimage.binary_fill_holes(plane) for plane in moved])
        votes += np.moveaxis(slices, 0, axis)
    return np.asarray(_largest_component(filled | (votes >= 2)), dtype=np.uint8)
