"""Jacobian determinant of a displacement field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.layout import components
from regcore.kernels.parallel import inline, kernel, run_blocks

_ONE = np.float32(1)


@inline
def _determinant(u, i0, i1, j0, j1, k0, k1, i, j, k, sx, sy, sz):  # type: ignore[no-untyped-def]
    m00 = _ONE + sx * (u[0, i1, j, k] - u[0, i0, j, k])
    m10 = sx * (u[1, i1, j, k] - u[1, i0, j, k])
    m20 = sx * (u[2, i1, j, k] - u[2, i0, j, k])
    m01 = sy * (u[0, i, j1, k] - u[0, i, j0, k])
    m11 = _ONE + sy * (u[1, i, j1, k] - u[1, i, j0, k])
    m21 = sy * (u[2, i, j1, k] - u[2, i, j0, k])
    m02 = sz * (u[0, i, j, k1] - u[0, i, j, k0])
    m12 = sz * (u[1, i, j, k1] - u[1, i, j, k0])
    m22 = _ONE + sz * (u[2, i, j, k1] - u[2, i, j, k0])
    return m00 * (m11 * m22 - m12 * m21) - m01 * (m10 * m22 - m12 * m20) + m02 * (m10 * m21 - m11 * m20)


@kernel
def _jacobian_determinant(start, stop, u, out):  # type: ignore[no-untyped-def]
    nx, ny, nz = out.shape
    half = np.float32(0.5)
    for i in range(start, stop):
        i0, i1 = max(i - 1, 0), min(i + 1, nx - 1)
        sx = _ONE / np.float32(max(i1 - i0, 1))
        for j in range(ny):
            j0, j1 = max(j - 1, 0), min(j + 1, ny - 1)
            sy = _ONE / np.float32(max(j1 - j0, 1))
            row = out[i, j]
            # the ends by themselves, so that what lies between has no conditions
            last = nz - 1
            row[0] = _determinant(u, i0, i1, j0, j1, 0, min(1, last), i, j, 0, sx, sy, _ONE)
            row[last] = _determinant(u, i0, i1, j0, j1, max(last - 1, 0), last, i, j, last, sx, sy, _ONE)
            for k in range(1, last):
                row[k] = _determinant(u, i0, i1, j0, j1, k - 1, k + 1, i, j, k, sx, sy, half)


def jacobian_determinant(displacement: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Determinant of the derivative of ``p + u(p)`` at every voxel.

    Central differences, one-sided at the faces, so an affine map has its exact determinant everywhere. A
    singleton axis counts as not displaced. The value has no unit: it is the same in voxels and in mm.

    Parameters
    ----------
    displacement : array, shape (X, Y, Z, 3)
        Displacement in voxels of its grid.

    Returns
    -------
    array, shape (X, Y, Z)
        float32; 1 keeps volume, above 1 expands, 0 or below folds.

    Raises
    ------
    InputError
        If `displacement` is not of shape (X, Y, Z, 3).

    Examples
    --------
    >>> field = np.zeros((4, 4, 4, 3), np.float32)
    >>> field[..., 0] = 0.5 * np.arange(4)[:, None, None]
    >>> bool((jacobian_determinant(field) == 1.5).all())
    True
    """
    field = np.asarray(displacement, dtype=np.float32)
    if field.ndim != 4 or field.shape[3] != 3:
        raise InputError(f"displacement: expected shape (X, Y, Z, 3), found {field.shape}")
    out = np.empty(field.shape[:3], np.float32)
    run_blocks(_jacobian_determinant, field.shape[0], components(field), out)
    return out
