"""Jacobian determinant of a displacement field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.parallel import kernel, run_blocks

_ONE = np.float32(1)


@kernel
def _jacobian_determinant(start, stop, u, out):  # type: ignore[no-untyped-def]
    nx, ny, nz = out.shape
    for i in range(start, stop):
        i0, i1 = max(i - 1, 0), min(i + 1, nx - 1)
        sx = _ONE / np.float32(max(i1 - i0, 1))
        for j in range(ny):
            j0, j1 = max(j - 1, 0), min(j + 1, ny - 1)
            sy = _ONE / np.float32(max(j1 - j0, 1))
            for k in range(nz):
                k0, k1 = max(k - 1, 0), min(k + 1, nz - 1)
                sz = _ONE / np.float32(max(k1 - k0, 1))
                m00 = _ONE + sx * (u[i1, j, k, 0] - u[i0, j, k, 0])
                m10 = sx * (u[i1, j, k, 1] - u[i0, j, k, 1])
                m20 = sx * (u[i1, j, k, 2] - u[i0, j, k, 2])
                m01 = sy * (u[i, j1, k, 0] - u[i, j0, k, 0])
                m11 = _ONE + sy * (u[i, j1, k, 1] - u[i, j0, k, 1])
                m21 = sy * (u[i, j1, k, 2] - u[i, j0, k, 2])
                m02 = sz * (u[i, j, k1, 0] - u[i, j, k0, 0])
                m12 = sz * (u[i, j, k1, 1] - u[i, j, k0, 1])
                m22 = _ONE + sz * (u[i, j, k1, 2] - u[i, j, k0, 2])
                out[i, j, k] = (
                    m00 * (m11 * m22 - m12 * m21)
                    - m01 * (m10 * m22 - m12 * m20)
                    + m02 * (m10 * m21 - m11 * m20)
                )


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
    field = np.ascontiguousarray(displacement, dtype=np.float32)
    if field.ndim != 4 or field.shape[3] != 3:
        raise InputError(f"displacement: expected shape (X, Y, Z, 3), found {field.shape}")
    out = np.empty(field.shape[:3], np.float32)
    run_blocks(_jacobian_determinant, field.shape[0], field, out)
    return out
