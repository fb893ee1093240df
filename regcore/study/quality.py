"""How well a registration did: folding, inverse consistency, plausible affines, overlap of the masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from regcore.errors import InputError
from regcore.groupwise import log_stretch
from regcore.image import Image
from regcore.kernels.compose import compose
from regcore.kernels.jacobian import jacobian_determinant
from regcore.metrics import ncc
from regcore.preprocess import foreground_mask
from regcore.transforms import Displacement, Transform


def map_quality(forward: Displacement | None, backward: Displacement | None) -> dict[str, Any]:
    """Folding and inverse consistency of a displacement and its inverse on one grid.

    Parameters
    ----------
    forward, backward : Displacement or None
        None where the map is an affine.

    Returns
    -------
    dict
        folded_voxels, minimum_jacobian, inverse_consistency_mean_vox, inverse_consistency_max_vox; the
        last two over the inner 80 % of each axis.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> rest = Displacement(np.zeros((5, 5, 5, 3), np.float32), Grid((5, 5, 5), np.eye(4)))
    >>> map_quality(rest, rest)["folded_voxels"]
    0
    """
    if forward is None or backward is None:
        return {
            "folded_voxels": 0,
            "minimum_jacobian": 1.0,
            "inverse_consistency_mean_vox": 0.0,
            "inverse_consistency_max_vox": 0.0,
        }
    determinants = [jacobian_determinant(each.field) for each in (forward, backward)]
    inner = tuple(slice(n // 10, n - n // 10) for n in forward.grid.shape)
    error = np.sqrt((compose(forward.field, backward.field)[inner] ** 2).sum(axis=-1))
    return {
        "folded_voxels": int(sum((determinant <= 0).sum() for determinant in determinants)),
        "minimum_jacobian": float(min(determinant.min() for determinant in determinants)),
        "inverse_consistency_mean_vox": float(error.mean(dtype=np.float64)),
        "inverse_consistency_max_vox": float(error.max()),
    }


def similarity(fixed: Image, warped: Image) -> float:
    """Correlation of two images on one grid, 1 at best."""
    return 1.0 - float(ncc.value_and_gradient(fixed.data, warped.data)[0])


def affine_quality(transform: Transform, image: Image) -> dict[str, float]:
    """How much the affine of a transform stretches, its rotation and shift left out.

    Parameters
    ----------
    transform : Transform
        World mm to world mm, an affine applied last.
    image : Image
        On the grid that the transform starts from.

    Returns
    -------
    dict
        affine_log_volume: natural logarithm of the change of volume, above 0 where the moving image is
        larger;
        affine_log_anisotropy: length of what is left of the log stretch, 0 where all directions are
        stretched alike and nothing is sheared.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> from regcore.transforms import Affine
    >>> image = Image(np.zeros((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))
    >>> double = affine_quality(Affine(np.diag([2.0, 2, 2, 1])), image)
    >>> [round(double[key], 3) for key in ("affine_log_volume", "affine_log_anisotropy")]
    [2.079, 0.0]
    """
    stretch = log_stretch(transform, image.grid)
    volume = float(np.trace(stretch))
    rest = stretch - np.eye(3) * volume / 3
    return {"affine_log_volume": volume, "affine_log_anisotropy": float(np.linalg.norm(rest))}


def mask_overlap(fixed_mask: Image, warped: Image) -> float:
    """Dice of a mask with the foreground of an image on its grid, NaN where there is no foreground.

    The foreground of the warped image and not its warped mask: some members of a cohort may come with
    masks that mean something else.
    """
    try:
        found = foreground_mask(warped).data > 0
    except InputError:
        return float("nan")
    mask = fixed_mask.data > 0
    both = int(mask.sum()) + int(found.sum())
    return 2.0 * int((mask & found).sum()) / both if both else float("nan")
