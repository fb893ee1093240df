"""Jacobian maps: how much larger a subject is than the template, voxel by voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.jacobian import jacobian_determinant
from regcore.kernels.smooth import gaussian_smooth
from regcore.space import Grid
from regcore.transforms import Transform, fit_affine, peel, split

LEAST_DETERMINANT = 1e-3
"""Determinants are raised to this before the logarithm: a folded voxel stays finite and stands out."""

FWHM_OF_SIGMA = float(np.sqrt(8 * np.log(2)))
"""Full width at half maximum of a Gaussian over its standard deviation."""


def log_jacobian(
    transform: Transform, grid: Grid, relative: bool = False, mask: Image | None = None
) -> Image:
    """Natural logarithm of the Jacobian determinant of a map from template to subject.

    Above 0 where the subject is larger than the template: 0.1 is about 10 % more volume. The relative one
    takes out the affine that is nearest to the *whole* map by least squares inside the mask, not only its
    linear stage: what a deformable stage adds in overall size goes too. As determinants multiply, the two
    maps differ by one number, the logarithm of that affine's determinant (`log_size`).

    Parameters
    ----------
    transform : Transform
        World mm of the template to world mm of the subject.
    grid : Grid
        Grid of the template.
    relative : bool
        Leave out the affine part, and with it the overall size of the subject.
    mask : Image, optional
        Where the affine is fitted, above 0 on `grid`; everywhere by default.

    Returns
    -------
    Image
        float32 on `grid`, no unit.

    Raises
    ------
    InputError
        If the affine part mirrors, or the mask is empty or lies on another grid.

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
    affine, displacement = split(transform, grid, affine=peel(transform)[0])
    logarithm = np.log(np.maximum(jacobian_determinant(displacement.field), np.float32(LEAST_DETERMINANT)))
    logarithm += np.float32(_log_determinant(affine.matrix))
    if relative:
        logarithm -= np.float32(log_size(transform, grid, mask))
    return Image(logarithm.astype(np.float32), grid)


def log_size(transform: Transform, grid: Grid, mask: Image | None = None) -> float:
    """Natural logarithm of how much larger the subject is as a whole: of the nearest affine's determinant.

    Parameters
    ----------
    transform, grid, mask
        As for `log_jacobian`.

    Raises
    ------
    InputError
        As `log_jacobian`.

    Examples
    --------
    >>> from regcore.transforms import Affine
    >>> round(log_size(Affine(np.diag([2.0, 2.0, 2.0, 1.0])), Grid((4, 4, 4), np.eye(4))), 4)
    2.0794
    """
    return _log_determinant(fit_affine(transform, grid, None if mask is None else mask.data > 0).matrix)


def _log_determinant(matrix: npt.NDArray[np.float64]) -> float:
    determinant = float(np.linalg.det(matrix[:3, :3]))
    if determinant <= 0:
        raise InputError("affine: expected one that keeps left and right, found a mirror image")
    return float(np.log(determinant))


def smooth_map(image: Image, fwhm_mm: float) -> Image:
    """Smooth a map by a Gaussian of a full width at half maximum in mm.

    Parameters
    ----------
    image : Image
    fwhm_mm : float
        The same along every axis of the world; 0 changes nothing.

    Raises
    ------
    InputError
        If the width is negative.

    Examples
    --------
    >>> image = Image(np.ones((6, 6, 6), np.float32), Grid((6, 6, 6), np.eye(4)))
    >>> float(smooth_map(image, 4.0).data.round(6).max())
    1.0
    """
    if fwhm_mm < 0:
        raise InputError(f"fwhm_mm: expected at least 0, found {fwhm_mm:g}")
    if fwhm_mm == 0:
        return image
    sigma_vox = [fwhm_mm / FWHM_OF_SIGMA / size for size in image.grid.spacing]
    return Image(gaussian_smooth(image.data.astype(np.float32, copy=False), sigma_vox), image.grid)
