"""Linear elasticity: the potential of a homogeneous, isotropic body under small strain.

Source: Broit, "Optimal registration of deformed images", University of Pennsylvania (1981); Modersitzki,
FAIR: Flexible Algorithms for Image Registration (2009), doi:10.1137/1.9780898718843.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.layout import from_components
from regcore.kernels.parallel import kernel, run_blocks
from regcore.regularisers.field import Float32, checked, slopes


@kernel
def _stress(start, stop, field, slope, shear, bulk, out):  # type: ignore[no-untyped-def]
    """Stress (xx, yy, zz, xy, xz, yz) from forward differences; returns the sum of twice the density."""
    _, nx, ny, nz = field.shape
    total = np.float64(0)
    for x in range(start, stop):
        x1 = min(x + 1, nx - 1)
        for y in range(ny):
            y1 = min(y + 1, ny - 1)
            row = np.float32(0)
            for z in range(nz):
                z1 = min(z + 1, nz - 1)
                u, v, w = field[0, x, y, z], field[1, x, y, z], field[2, x, y, z]
                gxx = slope[0, 0] * (field[0, x1, y, z] - u)
                gyy = slope[1, 1] * (field[1, x, y1, z] - v)
                gzz = slope[2, 2] * (field[2, x, y, z1] - w)
                # shear strains, doubled
                gxy = slope[0, 1] * (field[0, x, y1, z] - u) + slope[1, 0] * (field[1, x1, y, z] - v)
                gxz = slope[0, 2] * (field[0, x, y, z1] - u) + slope[2, 0] * (field[2, x1, y, z] - w)
                gyz = slope[1, 2] * (field[1, x, y, z1] - v) + slope[2, 1] * (field[2, x, y1, z] - w)
                pressure = bulk * (gxx + gyy + gzz)
                sxx = np.float32(2) * shear * gxx + pressure
                syy = np.float32(2) * shear * gyy + pressure
                szz = np.float32(2) * shear * gzz + pressure
                sxy, sxz, syz = shear * gxy, shear * gxz, shear * gyz
                row += sxx * gxx + syy * gyy + szz * gzz + sxy * gxy + sxz * gxz + syz * gyz
                out[0, x, y, z] = sxx
                out[1, x, y, z] = syy
                out[2, x, y, z] = szz
                out[3, x, y, z] = sxy
                out[4, x, y, z] = sxz
                out[5, x, y, z] = syz
            total += np.float64(row)
    return total


@kernel
def _divergence(start, stop, stress, slope, scale, out):  # type: ignore[no-untyped-def]
    """Transpose of the forward differences in `_stress`, applied to the stress."""
    _, nx, ny, nz = stress.shape
    sxx, syy, szz, sxy, sxz, syz = stress[0], stress[1], stress[2], stress[3], stress[4], stress[5]
    zero, one = np.float32(0), np.float32(1)
    for x in range(start, stop):
        # a difference counts at the voxel it starts from, with minus, and at the one it ends at
        out_x, in_x, x0 = one if x < nx - 1 else zero, one if x > 0 else zero, max(x - 1, 0)
        for y in range(ny):
            out_y, in_y, y0 = one if y < ny - 1 else zero, one if y > 0 else zero, max(y - 1, 0)
            for z in range(nz):
                out_z, in_z, z0 = one if z < nz - 1 else zero, one if z > 0 else zero, max(z - 1, 0)
                xx = in_x * sxx[x0, y, z] - out_x * sxx[x, y, z]
                xy_y = in_y * sxy[x, y0, z] - out_y * sxy[x, y, z]
                xz_z = in_z * sxz[x, y, z0] - out_z * sxz[x, y, z]
                xy_x = in_x * sxy[x0, y, z] - out_x * sxy[x, y, z]
                yy = in_y * syy[x, y0, z] - out_y * syy[x, y, z]
                yz_z = in_z * syz[x, y, z0] - out_z * syz[x, y, z]
                xz_x = in_x * sxz[x0, y, z] - out_x * sxz[x, y, z]
                yz_y = in_y * syz[x, y0, z] - out_y * syz[x, y, z]
                zz = in_z * szz[x, y, z0] - out_z * szz[x, y, z]
                out[0, x, y, z] = scale * (slope[0, 0] * xx + slope[0, 1] * xy_y + slope[0, 2] * xz_z)
                out[1, x, y, z] = scale * (slope[1, 0] * xy_x + slope[1, 1] * yy + slope[1, 2] * yz_z)
                out[2, x, y, z] = scale * (slope[2, 0] * xz_x + slope[2, 1] * yz_y + slope[2, 2] * zz)


def check_lame(mu: float, lamb: float) -> None:
    """Refuse Lame parameters of a body that would gain energy by deforming.

    Raises
    ------
    InputError
        Unless ``mu > 0`` and ``3 lamb + 2 mu > 0``.

    Examples
    --------
    >>> check_lame(1.0, -1.0)
    Traceback (most recent call last):
        ...
    regcore.errors.InputError: Lame parameters: expected mu > 0 and 3 lambda + 2 mu > 0, found mu 1, lambda -1
    """
    if not (0 < mu < float("inf") and 0 < 3 * lamb + 2 * mu < float("inf")):
        wanted = "mu > 0 and 3 lambda + 2 mu > 0"
        raise InputError(f"Lame parameters: expected {wanted}, found mu {mu:g}, lambda {lamb:g}")


def value_and_gradient(
    field: npt.ArrayLike,
    spacing: npt.ArrayLike,
    mu: float = 1.0,
    lamb: float = 0.0,
) -> tuple[float, Float32]:
    """Mean of ``mu sum e_ij^2 + lamb / 2 (sum e_ii)^2`` and its exact gradient with respect to `field`.

    The strain is ``e = (grad w + grad w^T) / 2``.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Displacement or velocity u, voxels; ``w = spacing u``.
    spacing : array, shape (3,)
        Voxel size, mm.
    mu, lamb : float
        Lame parameters: how much the body resists shear, and beyond that change of volume.

    Returns
    -------
    value : float
        In the unit of the Lame parameters; zero for a translation and, to first order, for a rotation.
    gradient : float32 array, shape (X, Y, Z, 3)
        Per voxel of displacement.

    Raises
    ------
    InputError
        If a shape is another one, a voxel size is not positive, or the parameters are of no body.

    Examples
    --------
    >>> field = np.zeros((2, 1, 1, 3), np.float32)
    >>> field[1, 0, 0, 0] = 0.5
    >>> value_and_gradient(field, (2.0, 2.0, 2.0), mu=1.0, lamb=2.0)[0]
    0.25
    """
    check_lame(mu, lamb)
    values, size = checked(field, spacing)
    slope, planes = slopes(size), values.shape[1]
    stress, out, count = np.empty((6, *values.shape[1:]), np.float32), np.empty_like(values), values[0].size
    parts = run_blocks(_stress, planes, values, slope, np.float32(mu), np.float32(lamb), stress)
    run_blocks(_divergence, planes, stress, slope, np.float32(1 / count), out)
    return 0.5 * sum(parts) / count, from_components(out)
