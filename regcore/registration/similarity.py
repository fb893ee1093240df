"""Similarity measures by name, as both solvers call them, and the images that they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.layout import components
from regcore.metrics import ecc, lncc, mi, mind, ncc, nmi, sad, ssd
from regcore.registration.pyramid import level
from regcore.registration.settings import METRICS, WINDOWED, DeformableSettings, LinearSettings
from regcore.space import Array, Grid

Float32 = npt.NDArray[np.float32]
PERCENTILE_SAMPLE = 1 << 19
Settings = LinearSettings | DeformableSettings
Metric = Callable[[Float32, Float32 | None], tuple[float, Float32]]
"""Takes the warped image and the weights; returns a value, smaller is better, and its gradient."""


class Channel(NamedTuple):
    """A pair of images that is to match under the same transform, and how much it counts.

    Parameters
    ----------
    fixed, moving : Image
    weight : float
        Factor of its measure in the sum over the channels.
    metric : str, optional
        Its measure; that of the stage by default.
    """

    fixed: Image
    moving: Image
    weight: float = 1.0
    metric: str | None = None


def unit_range(image: Image, mask: Image | None = None) -> Image:
    """Intensities brought to [0, 1] between the lowest value and a high percentile, for the metrics.

    Raises
    ------
    InputError
        If the image is constant or holds values that are not finite.
    """
    data = image.data.astype(np.float32)
    if not np.isfinite(data).all():
        raise InputError("image: expected finite intensities, found NaN or infinity")
    if mask is None or mask.data.shape != data.shape:
        inside = data
    else:
        inside = data[mask.data > 0]
        if inside.size == 0:
            raise InputError("mask: expected at least one voxel, found an empty mask")
    # so many, spread evenly, tell as much as all do; an odd number of steps does not fall into a row's period
    low, high = _ends(inside.reshape(-1)[:: (inside.size // PERCENTILE_SAMPLE) | 1])
    if high <= low:
        low, high = _ends(inside)
    if high <= low:
        raise InputError("image: expected at least two intensities, found a constant image")
    data -= np.float32(low)
    data /= np.float32(high - low)
    return Image(np.clip(data, 0, 1.2, out=data), image.grid)


def _ends(values: Float32) -> tuple[float, float]:
    low = float(np.percentile(values, 0.1))
    positive = values[values > low]
    return low, float(np.percentile(positive, 99.5)) if positive.size else low


def _lncc(fixed: Float32, settings: Settings, scratch: Float32 | None) -> Metric:
    radius, prepared = settings.radius, lncc.prepare(fixed, settings.radius)
    room = np.empty((3, *fixed.shape), np.float32) if scratch is None else components(scratch)
    own = np.empty_like(fixed) if scratch is None else None

    def measure(warped: Float32, weights: Float32 | None = None) -> tuple[float, Float32]:
        out = warped if own is None else own
        return lncc.value_and_gradient(fixed, warped, weights, radius, out, room, prepared)

    return measure


def _entropies(
    measure: Callable[..., tuple[float, Float32]], fixed: Float32, settings: Settings, _: Float32 | None
) -> Metric:
    return partial(measure, fixed, bins=settings.bins, smooth_fixed=settings.model == "symmetric")


def _mind(fixed: Float32, settings: Settings, _: Float32 | None) -> Metric:
    sigma, dilation = settings.patch_sigma_vox, settings.dilation
    prepared = mind.prepare(fixed, sigma, dilation)
    return partial(
        mind.value_and_gradient, fixed, patch_sigma_vox=sigma, dilation=dilation, prepared=prepared
    )


MEASURES: dict[str, Callable[[Float32, Settings, Float32 | None], Metric]] = {
    "ssd": lambda fixed, settings, _: partial(ssd.value_and_gradient, fixed),
    "sad": lambda fixed, settings, _: partial(sad.value_and_gradient, fixed, epsilon=settings.epsilon),
    "ncc": lambda fixed, settings, _: partial(ncc.value_and_gradient, fixed),
    "lncc": _lncc,
    "mi": partial(_entropies, mi.value_and_gradient),
    "nmi": partial(_entropies, nmi.value_and_gradient),
    "ecc": partial(_entropies, ecc.value_and_gradient),
    "mind": _mind,
}
assert tuple(MEASURES) == METRICS


def similarity(
    fixed: Float32, settings: Settings, metric: str | None = None, scratch: Float32 | None = None
) -> Metric:
    """The measure that `settings` name, with everything that depends on the fixed image alone done once.

    Parameters
    ----------
    fixed : float32 array, shape (X, Y, Z)
        Intensities in about [0, 1].
    settings : LinearSettings or DeformableSettings
    metric : str, optional
        Another measure than that of the settings.
    scratch : float32 array, shape (X, Y, Z, 3), optional
        A field from `empty_field` that every call may write to; then it may also write its gradient over
        the warped image.

    Returns
    -------
    callable
        Takes the warped image and the weights, float32 arrays of shape (X, Y, Z), the weights optional.
        The gradient it returns is overwritten by the next call.

    Examples
    --------
    >>> fixed = np.random.default_rng(0).random((8, 8, 8), np.float32)
    >>> value, gradient = similarity(fixed, LinearSettings(metric="ncc"))(2 * fixed, None)
    >>> round(value, 6)
    0.0
    """
    return MEASURES[metric or settings.metric](fixed, settings, scratch)


def at_level(channels: Sequence[Channel], fixed_mm: Array | float, moving_mm: Array | float) -> list[Channel]:
    """Channels smoothed for, and resampled to, the voxel sizes of a level of a pyramid, mm.

    They are made from the images themselves: levels made from one another are a little more blurred, which
    costs accuracy.
    """
    return [c._replace(fixed=level(c.fixed, fixed_mm), moving=level(c.moving, moving_mm)) for c in channels]


def sampled(channels: Sequence[Channel], step: int) -> list[Channel]:
    """Channels whose fixed images keep every so-manieth voxel along each axis, as it is.

    Raises
    ------
    InputError
        If a channel's own measure looks at neighbours.

    Examples
    --------
    >>> image = Image(np.arange(6, dtype=np.float32).reshape(6, 1, 1), Grid((6, 1, 1), np.eye(4)))
    >>> fixed = sampled([Channel(image, image)], 2)[0].fixed
    >>> fixed.data.ravel().tolist(), fixed.grid.spacing.tolist()
    ([0.0, 2.0, 4.0], [2.0, 2.0, 2.0])
    """
    if step == 1:
        return list(channels)
    thinned = []
    for channel in channels:
        if channel.metric in WINDOWED:
            raise InputError(
                f"linear.sampling_step: expected 1 beside a channel with {channel.metric}, found {step}"
            )
        data = np.ascontiguousarray(channel.fixed.data[::step, ::step, ::step])
        grid = Grid(data.shape, channel.fixed.grid.affine @ np.diag([step, step, step, 1.0]))
        thinned.append(channel._replace(fixed=Image(data, grid)))
    return thinned


def with_measures(
    channels: Sequence[Channel], settings: Settings, scratch: Float32 | None = None
) -> list[tuple[Channel, Metric]]:
    """Channels of a level, each with its measure, which may write to `scratch` (see `similarity`)."""
    return [(c, similarity(c.fixed.data, settings, c.metric, scratch)) for c in channels]
