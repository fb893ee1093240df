"""What all regularisers ask of their arguments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.layout import components

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


def checked(field: npt.ArrayLike, spacing: npt.ArrayLike) -> tuple[Float32, Array]:
    """The components of a field, shape (3, X, Y, Z), and the voxel size as three numbers.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Voxels.
    spacing : array, shape (3,)
        Voxel size, mm.

    Raises
    ------
    InputError
        If a shape is another one, or a voxel size is not a positive number.

    Examples
    --------
    >>> checked(np.zeros((2, 2, 1, 3)), (1.0, 1.0, 0.0))
    Traceback (most recent call last):
        ...
    regcore.errors.InputError: spacing: expected three positive numbers, found [1.0, 1.0, 0.0]
    """
    shape = np.shape(field)
    if len(shape) != 4 or shape[3] != 3:
        raise InputError(f"field: expected shape (X, Y, Z, 3), found {shape}")
    size = np.asarray(spacing, np.float64)
    if size.shape != (3,) or not (np.isfinite(size) & (size > 0)).all():
        raise InputError(f"spacing: expected three positive numbers, found {size.tolist()}")
    return components(field), size


def slopes(spacing: Array) -> Float32:
    """What turns differences of voxels into derivatives in mm: entry (c, a) is ``s_c / s_a``, shape (3, 3).

    Examples
    --------
    >>> slopes(np.array([1.0, 1.0, 2.0]))[2].tolist()
    [2.0, 2.0, 1.0]
    """
    return np.asarray(spacing[:, None] / spacing[None, :], np.float32)
