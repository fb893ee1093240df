"""Label maps as channels: what is matched is where each label lies."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.smooth import gaussian_smooth
from regcore.registration.similarity import Channel

MOST_CHANNELS = 12


def indicator(image: Image, labels: Collection[int], sigma_mm: float) -> Image:
    """Where some labels lie, smoothed: 1 well inside them, 0 well outside, a slope between.

    Parameters
    ----------
    image : Image
        Label map.
    labels : collection of int
    sigma_mm : float
        Standard deviation of the Gaussian, mm.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> image = Image(np.arange(10, dtype=np.int32).reshape(10, 1, 1) // 5, Grid((10, 1, 1), np.eye(4)))
    >>> indicator(image, [1], 0.5).data.ravel().round(1)
    array([0. , 0. , 0. , 0. , 0.1, 0.9, 1. , 1. , 1. , 1. ], dtype=float32)
    """
    inside = np.isin(image.data, list(labels)).astype(np.float32)
    return Image(gaussian_smooth(inside, [float(s) for s in sigma_mm / image.grid.spacing]), image.grid)


def label_channels(
    fixed: Image,
    moving: Image,
    groups: Sequence[Collection[int]] | None = None,
    weight: float = 1.0,
    sigma_mm: float | None = None,
    most: int = MOST_CHANNELS,
) -> list[Channel]:
    """Channels that match label to label, by squared differences of smoothed indicators.

    Parameters
    ----------
    fixed, moving : Image
        Label maps; 0 is background. A label that only one of them holds is left out.
    groups : sequence of collections of int, optional
        Labels that are to be matched as one. By default each is matched by itself; where there are more than
        `most`, the smaller ones together make the last channel.
    weight : float
        Of every channel.
    sigma_mm : float, optional
        How far an indicator is smoothed; by default one voxel of the coarser map.
    most : int
        Most channels.

    Returns
    -------
    list of Channel

    Raises
    ------
    InputError
        If the maps hold numbers that are not whole, or no label in common.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((8, 8, 8), np.eye(4))
    >>> labels = Image(np.repeat(np.arange(8, dtype=np.int32), 64).reshape(grid.shape), grid)
    >>> len(label_channels(labels, labels)), len(label_channels(labels, labels, most=3))
    (7, 3)
    """
    counts = [_counts(name, image) for name, image in (("fixed labels", fixed), ("moving labels", moving))]
    common = sorted(set(counts[0]) & set(counts[1]), key=lambda label: (-counts[0][label], label))
    if groups is None:
        single, rest = common[: most - 1], common[most - 1 :]
        groups = [[label] for label in single] + ([rest] if rest else [])
    else:
        groups = [kept for group in groups if (kept := [label for label in group if label in common])]
    if not groups:
        found = " and ".join(", ".join(map(str, sorted(count)[:8])) or "none" for count in counts)
        raise InputError(f"labels: expected one that both maps hold, found {found}")
    if sigma_mm is None:
        sigma_mm = _coarser_voxel(fixed, moving)
    return [
        Channel(indicator(fixed, group, sigma_mm), indicator(moving, group, sigma_mm), weight, "ssd")
        for group in groups
    ]


def foreground_channel(fixed: Image, moving: Image) -> Channel:
    """The pair of what is labelled at all, as in `label_channels`.

    Raises
    ------
    InputError
        If the maps hold numbers that are not whole.
    """
    sigma_mm = _coarser_voxel(fixed, moving)
    pair = [
        indicator(image, _counts(name, image), sigma_mm)
        for name, image in (("fixed labels", fixed), ("moving labels", moving))
    ]
    return Channel(pair[0], pair[1], 1.0, "ssd")


def _coarser_voxel(*images: Image) -> float:
    return max(float(image.grid.spacing.mean()) for image in images)


def _counts(name: str, image: Image) -> dict[int, int]:
    """Voxels of every label but 0."""
    values, counts = np.unique(image.data, return_counts=True)
    if not np.array_equal(values, np.rint(values)):
        wrong = next(float(value) for value in values if value != np.rint(value))
        raise InputError(f"{name}: expected whole numbers, found {wrong:g}")
    return {int(value): int(count) for value, count in zip(values, counts, strict=True) if value != 0}
