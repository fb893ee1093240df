"""How well a map behaves: folding and inverse consistency."""

from __future__ import annotations

from typing import Any

import numpy as np

from regcore.image import Image
from regcore.kernels.compose import compose
from regcore.kernels.jacobian import jacobian_determinant
from regcore.metrics import ncc
from regcore.transforms import Displacement


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
