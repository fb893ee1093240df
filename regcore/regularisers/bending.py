"""Bending energy: squared second derivatives, which leave affine maps free.

Source: Rueckert et al., "Nonrigid registration using free-form deformations", IEEE Transactions on Medical
Imaging 18 (1999), doi:10.1109/42.796284.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.layout import from_components
from regcore.kernels.parallel import kernel, run_blocks
from regcore.regularisers.field import Float32, checked

# neighbours of a row of voxels along x and y: beside, across the corner, and two away
AWAY_X = (-1, 1, 0, 0, -1, -1, 1, 1, -2, 2, 0, 0)
AWAY_Y = (0, 0, -1, 1, -1, 1, -1, 1, 0, 0, -2, 2)
LEFT, RIGHT, BELOW, ABOVE, CORNER, FAR_X, FAR_Y = 0, 1, 2, 3, 4, 8, 10


def _bands(size: int) -> Float32:
    """Rows of ``D^T D`` for second differences D of the inner samples of an axis: weights of 5 neighbours.

    They sum to zero: the middle one is not needed where the others weigh differences from it.
    """
    bands = np.zeros((size, 5), np.float32)
    stencil = (1.0, -2.0, 1.0)
    for i in range(3):
        for j in range(3):
            bands[i : max(size - 2 + i, i), 2 + j - i] += stencil[i] * stencil[j]
    return bands


@kernel
def _bending(start, stop, field, pure, mixed, bands_x, bands_y, scale, out):  # type: ignore[no-untyped-def]
    _, nx, ny, nz = field.shape
    two = np.float32(2)
    gap, across = np.empty((12, nz), np.float32), np.empty(nz, np.float32)
    step, bend = np.zeros(nz, np.float32), np.zeros(nz + 2, np.float32)
    total = np.float64(0)
    for x in range(start, stop):
        inner_x, a = np.float32(1 if 0 < x < nx - 1 else 0), bands_x[x]
        for c in range(3):
            xx, yy, zz = pure[c, 0], pure[c, 1], pure[c, 2]
            xy, xz, yz = mixed[c, 0], mixed[c, 1], mixed[c, 2]
            for y in range(ny):
                inner_y, b = np.float32(1 if 0 < y < ny - 1 else 0), bands_y[y]
                here, line = field[c, x, y], out[c, x, y]
                # differences go through memory: reordered sums would lose a small curvature on a large shift
                for k in range(12):
                    other = field[c, min(max(x + AWAY_X[k], 0), nx - 1), min(max(y + AWAY_Y[k], 0), ny - 1)]
                    for z in range(nz):
                        gap[k, z] = other[z] - here[z]
                for z in range(nz - 1):
                    step[z] = here[z + 1] - here[z]
                row = np.float32(0)
                for z in range(1, nz - 1):
                    dzz = step[z] - step[z - 1]
                    bend[1 + z] = dzz
                    row += zz * dzz * dzz
                for z in range(nz):
                    side_x, side_y = gap[LEFT, z] + gap[RIGHT, z], gap[BELOW, z] + gap[ABOVE, z]
                    dxx, dyy = inner_x * side_x, inner_y * side_y
                    dxy = gap[CORNER + 3, z] - gap[RIGHT, z] - gap[ABOVE, z]
                    row += xx * dxx * dxx + yy * dyy * dyy + xy * dxy * dxy
                    along_x = a[1] * gap[LEFT, z] + a[3] * gap[RIGHT, z]
                    along_x += a[0] * gap[FAR_X, z] + a[4] * gap[FAR_X + 1, z]
                    along_y = b[1] * gap[BELOW, z] + b[3] * gap[ABOVE, z]
                    along_y += b[0] * gap[FAR_Y, z] + b[4] * gap[FAR_Y + 1, z]
                    along_z = bend[z] - two * bend[z + 1] + bend[z + 2]
                    # D^T D of a mixed difference is the product of the two axes' own
                    corners = gap[CORNER, z] + gap[CORNER + 1, z] + gap[CORNER + 2, z] + gap[CORNER + 3, z]
                    corners -= two * (side_x + side_y)
                    across[z] = -xz * side_x - yz * side_y
                    line[z] = xx * along_x + yy * along_y + zz * along_z + xy * corners
                for z in range(nz - 1):
                    dxz, dyz = gap[RIGHT, z + 1] - gap[RIGHT, z], gap[ABOVE, z + 1] - gap[ABOVE, z]
                    row += xz * dxz * dxz + yz * dyz * dyz
                    line[z] += across[z] - across[z + 1]
                for z in range(1, nz):
                    line[z] += across[z] - across[z - 1]
                for z in range(nz):
                    line[z] *= scale
                total += np.float64(row)
    return total


def value_and_gradient(field: npt.ArrayLike, spacing: npt.ArrayLike) -> tuple[float, Float32]:
    """Mean of ``w_xx^2 + w_yy^2 + w_zz^2 + 2 (w_xy^2 + w_xz^2 + w_yz^2)`` and its gradient by `field`.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Displacement or velocity u, voxels; ``w = spacing u``.
    spacing : array, shape (3,)
        Voxel size, mm.

    Returns
    -------
    value : float
        1 / mm2; zero for an affine displacement.
    gradient : float32 array, shape (X, Y, Z, 3)
        Per voxel of displacement.

    Raises
    ------
    InputError
        If a shape is another one, or a voxel size is not positive.

    Examples
    --------
    >>> field = np.zeros((3, 1, 1, 3), np.float32)
    >>> field[:, 0, 0, 0] = [0.0, 1.0, 2.0]
    >>> value_and_gradient(field, (2.0, 2.0, 2.0))[0]
    0.0
    >>> field[2, 0, 0, 0] = 3.0
    >>> round(value_and_gradient(field, (2.0, 2.0, 2.0))[0], 6)
    0.083333
    """
    values, size = checked(field, spacing)
    _, nx, ny, _ = values.shape
    # entry (c, a, b) is s_c^2 / (s_a s_b)^2
    second = ((size[:, None, None] / (size[:, None] * size)) ** 2).astype(np.float32)
    pure, mixed = second[:, [0, 1, 2], [0, 1, 2]], 2 * second[:, [0, 0, 1], [1, 2, 2]]
    out, count = np.empty_like(values), values[0].size
    scale = np.float32(2 / count)
    parts = run_blocks(_bending, nx, values, pure, mixed, _bands(nx), _bands(ny), scale, out)
    return sum(parts) / count, from_components(out)
