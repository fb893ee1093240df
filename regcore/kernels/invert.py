"""Inverse of a displacement field: a Newton solution at every voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.layout import components, empty_field
from regcore.kernels.parallel import kernel, run_blocks

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_LEAST_DETERMINANT = np.float32(0.05)
_LONGEST_STEP = np.float32(2)


@kernel
def _invert(start, stop, field, iterations, tolerance, out):  # type: ignore[no-untyped-def]
    _, nx, ny, nz = field.shape
    last_x, last_y, last_z = np.float32(nx - 1), np.float32(ny - 1), np.float32(nz - 1)
    for px in range(start, stop):
        for py in range(ny):
            for pz in range(nz):
                # a smooth field's inverse goes on as it did at the last two voxels: far better than zero
                if pz > 1:
                    a = np.float32(2) * out[0, px, py, pz - 1] - out[0, px, py, pz - 2]
                    b = np.float32(2) * out[1, px, py, pz - 1] - out[1, px, py, pz - 2]
                    c = np.float32(2) * out[2, px, py, pz - 1] - out[2, px, py, pz - 2]
                elif pz > 0:
                    a, b, c = out[0, px, py, pz - 1], out[1, px, py, pz - 1], out[2, px, py, pz - 1]
                else:
                    a, b, c = -field[0, px, py, pz], -field[1, px, py, pz], -field[2, px, py, pz]
                best = np.float32(1e30)
                best_a, best_b, best_c = a, b, c
                for _ in range(iterations):
                    x, y, z = np.float32(px) + a, np.float32(py) + b, np.float32(pz) + c
                    # the field is constant beyond its edge, so its derivative along that axis is zero there
                    free_x = _ONE if _ZERO <= x <= last_x else _ZERO
                    free_y = _ONE if _ZERO <= y <= last_y else _ZERO
                    free_z = _ONE if _ZERO <= z <= last_z else _ZERO
                    x = min(max(x, _ZERO), last_x)
                    y = min(max(y, _ZERO), last_y)
                    z = min(max(z, _ZERO), last_z)
                    i, j, k = (
                        min(max(int(x), 0), nx - 1),
                        min(max(int(y), 0), ny - 1),
                        min(max(int(z), 0), nz - 1),
                    )
                    i1, j1, k1 = min(i + 1, nx - 1), min(j + 1, ny - 1), min(k + 1, nz - 1)
                    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
                    gx, gy, gz = _ONE - fx, _ONE - fy, _ONE - fz

                    axis = 0
                    c00 = gz * field[axis, i, j, k] + fz * field[axis, i, j, k1]
                    c01 = gz * field[axis, i, j1, k] + fz * field[axis, i, j1, k1]
                    c10 = gz * field[axis, i1, j, k] + fz * field[axis, i1, j, k1]
                    c11 = gz * field[axis, i1, j1, k] + fz * field[axis, i1, j1, k1]
                    d00 = field[axis, i, j, k1] - field[axis, i, j, k]
                    d01 = field[axis, i, j1, k1] - field[axis, i, j1, k]
                    d10 = field[axis, i1, j, k1] - field[axis, i1, j, k]
                    d11 = field[axis, i1, j1, k1] - field[axis, i1, j1, k]
                    r0 = a + gx * (gy * c00 + fy * c01) + fx * (gy * c10 + fy * c11)
                    m00 = _ONE + free_x * (gy * (c10 - c00) + fy * (c11 - c01))
                    m01 = free_y * (gx * (c01 - c00) + fx * (c11 - c10))
                    m02 = free_z * (gx * (gy * d00 + fy * d01) + fx * (gy * d10 + fy * d11))

                    axis = 1
                    c00 = gz * field[axis, i, j, k] + fz * field[axis, i, j, k1]
                    c01 = gz * field[axis, i, j1, k] + fz * field[axis, i, j1, k1]
                    c10 = gz * field[axis, i1, j, k] + fz * field[axis, i1, j, k1]
                    c11 = gz * field[axis, i1, j1, k] + fz * field[axis, i1, j1, k1]
                    d00 = field[axis, i, j, k1] - field[axis, i, j, k]
                    d01 = field[axis, i, j1, k1] - field[axis, i, j1, k]
                    d10 = field[axis, i1, j, k1] - field[axis, i1, j, k]
                    d11 = field[axis, i1, j1, k1] - field[axis, i1, j1, k]
                    r1 = b + gx * (gy * c00 + fy * c01) + fx * (gy * c10 + fy * c11)
                    m10 = free_x * (gy * (c10 - c00) + fy * (c11 - c01))
                    m11 = _ONE + free_y * (gx * (c01 - c00) + fx * (c11 - c10))
                    m12 = free_z * (gx * (gy * d00 + fy * d01) + fx * (gy * d10 + fy * d11))

                    axis = 2
                    c00 = gz * field[axis, i, j, k] + fz * field[axis, i, j, k1]
                    c01 = gz * field[axis, i, j1, k] + fz * field[axis, i, j1, k1]
                    c10 = gz * field[axis, i1, j, k] + fz * field[axis, i1, j, k1]
                    c11 = gz * field[axis, i1, j1, k] + fz * field[axis, i1, j1, k1]
                    d00 = field[axis, i, j, k1] - field[axis, i, j, k]
                    d01 = field[axis, i, j1, k1] - field[axis, i, j1, k]
                    d10 = field[axis, i1, j, k1] - field[axis, i1, j, k]
                    d11 = field[axis, i1, j1, k1] - field[axis, i1, j1, k]
                    r2 = c + gx * (gy * c00 + fy * c01) + fx * (gy * c10 + fy * c11)
                    m20 = free_x * (gy * (c10 - c00) + fy * (c11 - c01))
                    m21 = free_y * (gx * (c01 - c00) + fx * (c11 - c10))
                    m22 = _ONE + free_z * (gx * (gy * d00 + fy * d01) + fx * (gy * d10 + fy * d11))

                    error = r0 * r0 + r1 * r1 + r2 * r2
                    if error < best:
                        best = error
                        best_a, best_b, best_c = a, b, c
                        if error < tolerance * tolerance:
                            break
                    k00 = m11 * m22 - m12 * m21
                    k01 = m02 * m21 - m01 * m22
                    k02 = m01 * m12 - m02 * m11
                    determinant = m00 * k00 + m10 * k01 + m20 * k02
                    if determinant > _LEAST_DETERMINANT:
                        scale = _ONE / determinant
                        s0 = scale * (k00 * r0 + k01 * r1 + k02 * r2)
                        s1 = scale * (
                            (m12 * m20 - m10 * m22) * r0
                            + (m00 * m22 - m02 * m20) * r1
                            + (m02 * m10 - m00 * m12) * r2
                        )
                        s2 = scale * (
                            (m10 * m21 - m11 * m20) * r0
                            + (m01 * m20 - m00 * m21) * r1
                            + (m00 * m11 - m01 * m10) * r2
                        )
                        length = np.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
                        if length > _LONGEST_STEP:
                            s0 *= _LONGEST_STEP / length
                            s1 *= _LONGEST_STEP / length
                            s2 *= _LONGEST_STEP / length
                    else:
                        # folded or nearly so: the damped fixed point still makes headway
                        s0, s1, s2 = _HALF * r0, _HALF * r1, _HALF * r2
                    a, b, c = a - s0, b - s1, c - s2
                out[0, px, py, pz] = best_a
                out[1, px, py, pz] = best_b
                out[2, px, py, pz] = best_c


def invert(
    displacement: npt.NDArray[np.float32], iterations: int = 20, tolerance_vox: float = 1e-3
) -> npt.NDArray[np.float32]:
    """Displacement ``w`` with ``w(p) + u(p + w(p)) = 0``: the inverse of ``id + u`` on the same grid.

    Every voxel is solved by itself, by Newton steps on the linearly interpolated field, and stops as soon as
    its own residual is small; where the field is folded, damped fixed-point steps replace them, and the
    best point found is kept. Beyond its grid `u` is that of the nearest edge.

    Parameters
    ----------
    displacement : array, shape (X, Y, Z, 3)
        Displacement ``u`` in voxels of its grid.
    iterations : int
        Most steps at a voxel.
    tolerance_vox : float
        Residual, in voxels, at which a voxel stops.

    Returns
    -------
    array, shape (X, Y, Z, 3)
        float32, in voxels of the same grid.

    Raises
    ------
    InputError
        If `displacement` is not of shape (X, Y, Z, 3).

    References
    ----------
    Chen et al. (2008), "A simple fixed-point approach to invert a deformation field", Medical Physics
    35(1), doi:10.1118/1.2816107, for the equation; Newton's method here converges where that one does not.

    Examples
    --------
    >>> shift = np.zeros((8, 8, 8, 3), np.float32)
    >>> shift[..., 0] = 1.5
    >>> invert(shift)[4, 4, 4, 0]
    np.float32(-1.5)
    """
    field = np.asarray(displacement, dtype=np.float32)
    if field.ndim != 4 or field.shape[3] != 3:
        raise InputError(f"displacement: expected shape (X, Y, Z, 3), found {field.shape}")
    out = empty_field(field.shape[:3])
    parts = components(field), iterations, np.float32(tolerance_vox), components(out)
    run_blocks(_invert, field.shape[0], *parts, block=4)
    return out
