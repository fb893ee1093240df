"""One image given the distribution of intensities of another."""

from __future__ import annotations

import numpy as np

from regcore.image import Image
from regcore.preprocess import foreground_mask

SHARES = np.linspace(0.01, 0.99, 50)
"""Quantiles that are laid onto one another; those further out are noise."""


def match_histograms(
    moving: Image, fixed: Image, moving_mask: Image | None = None, fixed_mask: Image | None = None
) -> Image:
    """The moving image with the quantiles of the fixed one; straight lines between the quantiles.

    Parameters
    ----------
    moving, fixed : Image
        Background zero, the darkest; it stays zero.
    moving_mask, fixed_mask : Image, optional
        Whose quantiles count, on the grid of their image; the foreground by default.

    Returns
    -------
    Image
        float32, on the grid of `moving`.

    References
    ----------
    Nyul, Udupa and Zhang (2000), "New variants of a method of MRI scale standardization",
    doi:10.1109/42.836373.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((10, 10, 10), np.eye(4))
    >>> fixed = Image(np.linspace(1, 2, 1000, dtype=np.float32).reshape(grid.shape), grid)
    >>> everywhere = Image(np.ones(grid.shape, np.uint8), grid)
    >>> bent = Image(fixed.data**3, grid)
    >>> matched = match_histograms(bent, fixed, everywhere, everywhere)
    >>> bool(np.abs(matched.data - fixed.data)[1:-1].max() < 0.02)
    True
    """
    quantiles = []
    for image, mask in ((moving, moving_mask), (fixed, fixed_mask)):
        inside = (foreground_mask(image) if mask is None else mask).data != 0
        quantiles.append(np.quantile(image.data[inside].astype(np.float64), SHARES))
    # many voxels of one intensity make several quantiles one
    source, first = np.unique(quantiles[0], return_index=True)
    target = quantiles[1][first]
    # beyond the quantiles: down to the background, and up as steeply as the quantiles rise on the whole
    reach = max(float(moving.data.max()) - source[-1], 0.0)
    slope = (target[-1] - target[0]) / max(source[-1] - source[0], 1e-12)
    knots = np.concatenate([[0.0], source, [source[-1] + reach]])
    values = np.concatenate([[0.0], target, [target[-1] + slope * reach]])
    keep = np.concatenate([[True], np.diff(knots) > 0])
    mapped = np.interp(moving.data, knots[keep], values[keep])
    return Image(mapped.astype(np.float32), moving.grid)
