"""Jacobian maps: how much larger a subject is than the template, voxel by voxel."""

from __future__ import annotations

import numpy as np

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.jacobian import jacobian_determinant
from regcore.space import Grid
from regcore.transforms import Transform, peel, split

LEAST_DETERMINANT = 1e-3
"""Determinants are raised to this before the logarithm: a folded voxel stays finite and stands out."""


def log_jacobian(transform: Transform, grid: Grid, relative: bool = False) -> Image:
    """Natural logarithm of the Jacobian determinant of a map from template to subject.

    Above 0 where the subject is larger than the template.

    Parameters
    ----------
    transform : Transform
        World mm of the template to world mm of the subject.
    grid : Grid
        Grid of the template.
    relative : bool
        Leave out the affine part, and with it the overall size of the subject.

    Returns
    -------
    Image
        float32 on `grid`.

    Raises
    ------
    InputError
        If the affine part mirrors.

    References
    ----------
    Ashburner, J. and Friston, K. J. (2000), doi:10.1006/nimg.2000.0582.

    Examples
    --------
    >>> from regcore.transforms import Affine
    >>> larger = Affine(np.diag([np.e, 1.0, 1.0, 1.0]))
    >>> grid = Grid((4, 4, 4), np.eye(4))
    >>> round(float(log_jacobian(larger, grid).data[2, 2, 2]), 4)
    1.0
    >>> round(float(log_jacobian(larger, grid, relative=True).data[2, 2, 2]), 4)
    0.0
    """
    # the whole is the same however it is split: only the relative map may need an affine fitted
    affine, displacement = split(transform, grid, affine=None if relative else peel(transform)[0])
    determinant = float(np.linalg.det(affine.matrix[:3, :3]))
    if determinant <= 0:
        raise InputError("affine: expected one that keeps left and right, found a mirror image")
    logarithm = np.log(np.maximum(jacobian_determinant(displacement.field), np.float32(LEAST_DETERMINANT)))
    if not relative:
        logarithm += np.float32(np.log(determinant))
    return Image(logarithm.astype(np.float32), grid)
