"""Bring an image onto a grid through a transform, with one interpolation."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.bspline import bspline_coefficients, sample_cubic
from regcore.kernels.label import sample_label
from regcore.kernels.sample import sample_linear, sample_nearest
from regcore.space import Grid
from regcore.transforms import Transform, displacement_field, peel

Interpolation = Literal["linear", "nearest", "cubic", "label"]


def voxel_map(
    source: Grid, grid: Grid, transform: Transform | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32] | None]:
    """A transform as kernels take it: voxel p of `grid` reads voxel ``matrix @ [p + u(p), 1]`` of `source`.

    An affine, alone or applied last, goes into the matrix, and a displacement on `grid` is used as it is;
    anything else is evaluated at every voxel centre of `grid`.

    Parameters
    ----------
    source : Grid
        Grid of the image that is read.
    grid : Grid
        Output grid.
    transform : Transform or None
        World mm of `grid` to world mm of `source`; None is the identity.

    Returns
    -------
    matrix : array, shape (4, 4)
    displacement : float32 array, shape (X, Y, Z, 3), or None
        Voxels of `grid`.

    Examples
    --------
    >>> fine, coarse = Grid((4, 4, 4), np.eye(4)), Grid((2, 2, 2), np.diag([2.0, 2, 2, 1]))
    >>> matrix, displacement = voxel_map(fine, coarse, None)
    >>> np.diag(matrix), displacement
    (array([2., 2., 2., 1.]), None)
    """
    affine, rest = peel(transform)
    matrix = source.inverse_affine @ affine.matrix @ grid.affine
    return matrix, displacement_field(rest, grid)


def resample(
    image: Image,
    grid: Grid,
    transform: Transform | None = None,
    interpolation: Interpolation = "linear",
    fill: float = 0.0,
) -> Image:
    """Image read through a transform at every voxel of a grid: ``result(x) = image(transform(x))``.

    Parameters
    ----------
    image : Image
        Image to read. It is not smoothed: before coarser output voxels, smooth it.
    grid : Grid
        Output grid.
    transform : Transform, optional
        World RAS+ mm of `grid` to world mm of `image`; the identity by default.
    interpolation : {"linear", "nearest", "cubic", "label"}
        "cubic" is a cubic B-spline; "label" gives the label of largest linear weight.
    fill : float
        Value where the image was not read, half a voxel beyond its outermost voxel centres.

    Returns
    -------
    Image
        On `grid`: float32 for "linear" and "cubic", else the type of `image`.

    Raises
    ------
    InputError
        If `interpolation` is none of the four, or "label" is asked of an image that is not of integers.

    Examples
    --------
    >>> from regcore.transforms import Affine
    >>> line = Image(np.arange(4, dtype=np.float32).reshape(4, 1, 1), Grid((4, 1, 1), np.eye(4)))
    >>> half = Affine.from_parameters(translation=(0.5, 0, 0))
    >>> resample(line, line.grid, half, fill=-1).data.ravel()
    array([0.5, 1.5, 2.5, 3. ], dtype=float32)
    """
    if interpolation not in get_args(Interpolation):
        choices = ", ".join(get_args(Interpolation))
        raise InputError(f"interpolation: expected one of {choices}, found {interpolation!r}")
    if interpolation == "label" and image.data.dtype.kind not in "iub":
        raise InputError(f"interpolation 'label': expected an image of integers, found {image.data.dtype}")
    matrix, displacement = voxel_map(image.grid, grid, transform)
    if interpolation == "linear":
        data = sample_linear(np.asarray(image.data, np.float32), matrix, displacement, grid.shape)
    elif interpolation == "cubic":
        data = sample_cubic(bspline_coefficients(image.data), matrix, displacement, grid.shape)
    elif interpolation == "label":
        data = sample_label(image.data, matrix, displacement, grid.shape)
    else:
        data = sample_nearest(image.data, matrix, displacement, grid.shape)
    if fill != 0:
        data[_covered(image.grid, matrix, displacement, grid.shape) == 0] = fill
    return Image(data, grid)


def coverage(image_grid: Grid, grid: Grid, transform: Transform | None = None) -> Image:
    """Where a grid sees an image: 1 where the transformed voxel centre lies within `image_grid`, else 0.

    Parameters
    ----------
    image_grid : Grid
        Grid of the image.
    grid : Grid
        Output grid.
    transform : Transform, optional
        World RAS+ mm of `grid` to world mm of `image_grid`; the identity by default.

    Returns
    -------
    Image
        float32 on `grid`.

    Examples
    --------
    >>> small, large = Grid((2, 1, 1), np.eye(4)), Grid((4, 1, 1), np.eye(4))
    >>> coverage(small, large).data.ravel()
    array([1., 1., 0., 0.], dtype=float32)
    """
    matrix, displacement = voxel_map(image_grid, grid, transform)
    return Image(_covered(image_grid, matrix, displacement, grid.shape).astype(np.float32), grid)


def _covered(
    source: Grid,
    matrix: npt.NDArray[np.float64],
    displacement: npt.NDArray[np.float32] | None,
    shape: tuple[int, int, int],
) -> npt.NDArray[np.uint8]:
    ones = np.ones(source.shape, np.uint8)
    return np.asarray(sample_nearest(ones, matrix, displacement, shape), np.uint8)
