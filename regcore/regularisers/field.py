"""What all regularisers ask of their arguments."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError

Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


def checked(field: npt.ArrayLike, spacing: npt.ArrayLike) -> tuple[Float32, Array]:
    """A field as kernels take it, and the voxel size as three numbers.

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
    values = np.ascontiguousarray(field, np.float32)
    if values.ndim != 4 or values.shape[3] != 3:
        raise InputError(f"field: expected shape (X, Y, Z, 3), found {values.shape}")
    size = np.asarray(spacing, np.float64)
    if size.shape != (3,) or not (np.isfinite(size) & (size > 0)).all():
        raise InputError(f"spacing: expected three positive numbers, found {size.tolist()}")
    return values, size


def slopes(spacing: Array) -> Array:
    """What turns differences of voxels into derivatives in mm: entry (c, a) is ``s_c / s_a``, shape (3, 3).

    Examples
    --------
    >>> slopes(np.array([1.0, 1.0, 2.0]))[2].tolist()
    [2.0, 2.0, 1.0]
    """
    return np.asarray(spacing[:, None] / spacing[None, :])


def along_rows(per_component: Array, planes: int) -> Float32:
    """Factors of the three components repeated along a row of `planes` voxels, shape (..., 3 planes)."""
    return np.ascontiguousarray(np.tile(per_component, planes), np.float32)
