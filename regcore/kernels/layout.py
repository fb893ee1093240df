"""How vector fields lie in memory: shape (X, Y, Z, 3), with the voxels of one component side by side.

Loops along a row then read and write neighbouring numbers, which processors do eight at a time. A field in
any other order is as valid everywhere; kernels copy it once.
"""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def components(field: npt.ArrayLike) -> Float32:
    """The components of a field as a contiguous array of shape (C, X, Y, Z); a copy only where it must be.

    Parameters
    ----------
    field : array, shape (X, Y, Z, C)

    Examples
    --------
    >>> components(np.zeros((4, 5, 6, 3))).shape
    (3, 4, 5, 6)
    """
    return np.ascontiguousarray(np.asarray(field, np.float32).transpose(3, 0, 1, 2))


def from_components(planes: Float32) -> Float32:
    """The field of shape (X, Y, Z, C) whose components are given; a view."""
    return planes.transpose(1, 2, 3, 0)


def empty_field(shape: tuple[int, ...], count: int = 3) -> Float32:
    """A field of shape (X, Y, Z, count) with anything in it, for kernels to write to.

    Examples
    --------
    >>> field = empty_field((4, 5, 6))
    >>> field.shape, bool(np.shares_memory(components(field), field))
    ((4, 5, 6, 3), True)
    """
    return from_components(np.empty((count, *shape), np.float32))
