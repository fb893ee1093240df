"""Left-right symmetric templates: a cohort in which every image comes with its mirror.

The mirror of an image registers to a symmetric template by the mirror of the image's own transform.
So nothing is registered twice: the sums over a cohort and its mirror follow from those over the cohort.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.groupwise.average import PartialSum
from regcore.image import Image
from regcore.space import Grid


def mirror_axis(grid: Grid) -> int:
    """Voxel axis of a grid that runs from left to right.

    Raises
    ------
    InputError
        If the grid has one voxel along it.

    Examples
    --------
    >>> mirror_axis(Grid((4, 4, 4), np.eye(4)[[1, 0, 2, 3]]))
    1
    """
    axis = int(np.argmax(np.abs(grid.affine[0, :3]) / grid.spacing))
    if grid.shape[axis] < 2:
        raise InputError("template.symmetric: expected images with a left and a right, found sagittal slices")
    return axis


def mirror(image: Image) -> Image:
    """Image mirrored about the middle plane of its grid, voxel by voxel.

    Examples
    --------
    >>> row = Image(np.arange(3, dtype=np.float32).reshape(3, 1, 1), Grid((3, 1, 1), np.eye(4)))
    >>> mirror(row).data.ravel().tolist()
    [2.0, 1.0, 0.0]
    """
    return Image(np.ascontiguousarray(np.flip(image.data, mirror_axis(image.grid))), image.grid)


def symmetrise(image: Image) -> Image:
    """Mean of an image and its mirror, symmetric to the last bit; of a mask, whatever either holds.

    Examples
    --------
    >>> row = Image(np.arange(3, dtype=np.float32).reshape(3, 1, 1), Grid((3, 1, 1), np.eye(4)))
    >>> symmetrise(row).data.ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    other = mirror(image).data
    if image.data.dtype.kind != "f":
        return Image(np.maximum(image.data, other), image.grid)
    return Image(((image.data + other) * image.data.dtype.type(0.5)), image.grid)


def symmetrise_sum(partial: PartialSum) -> PartialSum:
    """Sums over a cohort and its mirror, each member counted half on either side.

    A member that maps by ``A (x + u(x))`` with the stretch P of A has, with M the mirror in template space, a
    mirror image that maps with the displacement ``M u(M x)`` and the stretch ``M P M``.

    Parameters
    ----------
    partial : PartialSum

    Returns
    -------
    PartialSum
        Of the same total and count; its average is exactly mirror-symmetric.

    References
    ----------
    Grabner, G. et al. (2006), Symmetric atlasing and model based segmentation, doi:10.1007/11866763_8.
    """
    grid = partial.grid
    axis = mirror_axis(grid)
    field = partial.displacement
    if field is not None:
        turned = np.flip(field, axis).copy()
        turned[..., axis] *= -1
        field = (field + turned) * np.float32(0.5)
    flip = np.eye(3)
    flip[axis, axis] = -1
    reflection = grid.affine[:3, :3] @ flip @ np.linalg.inv(grid.affine[:3, :3])
    return replace(
        partial,
        image=_half(partial.image, axis),
        square=_half(partial.square, axis),
        weight=_half(partial.weight, axis),
        displacement=field,
        log_stretch=(partial.log_stretch + reflection @ partial.log_stretch @ reflection) / 2,
    )


def _half(values: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    # a sum of two does not depend on their order: both sides get the same bits
    return (values + np.flip(values, axis)) * np.float32(0.5)
