"""Carry an atlas onto a target."""

from __future__ import annotations

from regcore.image import Image
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Transform


def propagate(labels: Image, image: Image, grid: Grid, transform: Transform) -> tuple[Image, Image]:
    """Labels and image of an atlas on a target's grid, one interpolation each.

    Parameters
    ----------
    labels : Image
        Labels of the atlas, integers.
    image : Image
        Intensities of the atlas, for weights in the fusion.
    grid : Grid
        Grid of the target.
    transform : Transform
        World mm of the target to world mm of the atlas.

    Returns
    -------
    tuple of Image
        Labels (label-aware interpolation, the type of `labels`) and intensities (linear, float32).

    Examples
    --------
    >>> import numpy as np
    >>> from regcore.transforms import identity
    >>> atlas = Image(np.ones((2, 2, 2), np.int32), Grid((2, 2, 2), np.eye(4)))
    >>> propagate(atlas, atlas, atlas.grid, identity())[0].data.sum()
    np.int64(8)
    """
    return resample(labels, grid, transform, "label"), resample(image, grid, transform, "linear")
