"""Bending energy: squared second derivatives, which leave affine maps free.

Source: Rueckert et al., "Nonrigid registration using free-form deformations", IEEE Transactions on Medical
Imaging 18 (1999), doi:10.1109/42.796284.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import kernel, run_blocks
from regcore.regularisers.field import Float32, along_rows, checked

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
    nx, ny, nw = field.shape
    two = np.float32(2)
    gap, across = np.empty((12, nw), np.float32), np.empty(nw, np.float32)
    step, bend = np.zeros(nw, np.float32), np.zeros(nw + 6, np.float32)
    total = np.float64(0)
    for x in range(start, stop):
        inner_x = np.float32(1 if 0 < x < nx - 1 else 0)
        for y in range(ny):
            inner_y = np.float32(1 if 0 < y < ny - 1 else 0)
            here, line, a, b = field[x, y], out[x, y], bands_x[x], bands_y[y]
            # differences go through memory: reordered sums would lose a small curvature on a large shift
            for k in range(12):
                other = field[min(max(x + AWAY_X[k], 0), nx - 1), min(max(y + AWAY_Y[k], 0), ny - 1)]
                for i in range(nw):
                    gap[k, i] = other[i] - here[i]
            # along a row neighbours are three values apart
            for i in range(nw - 3):
                step[i] = here[i + 3] - here[i]
            row = np.float32(0)
            for i in range(3, nw - 3):
                dzz = step[i] - step[i - 3]
                bend[3 + i] = dzz
                row += pure[2, i] * dzz * dzz
            for i in range(nw):
                side_x, side_y = gap[LEFT, i] + gap[RIGHT, i], gap[BELOW, i] + gap[ABOVE, i]
                dxx, dyy = inner_x * side_x, inner_y * side_y
                dxy = gap[CORNER + 3, i] - gap[RIGHT, i] - gap[ABOVE, i]
                row += pure[0, i] * dxx * dxx + pure[1, i] * dyy * dyy + mixed[0, i] * dxy * dxy
                along_x = a[1] * gap[LEFT, i] + a[3] * gap[RIGHT, i]
                along_x += a[0] * gap[FAR_X, i] + a[4] * gap[FAR_X + 1, i]
                along_y = b[1] * gap[BELOW, i] + b[3] * gap[ABOVE, i]
                along_y += b[0] * gap[FAR_Y, i] + b[4] * gap[FAR_Y + 1, i]
                along_z = bend[i] - two * bend[i + 3] + bend[i + 6]
                # D^T D of a mixed difference is the product of the two axes' own
                corners = gap[CORNER, i] + gap[CORNER + 1, i] + gap[CORNER + 2, i] + gap[CORNER + 3, i]
                corners -= two * (side_x + side_y)
                across[i] = -mixed[1, i] * side_x - mixed[2, i] * side_y
                line[i] = pure[0, i] * along_x + pure[1, i] * along_y + pure[2, i] * along_z
                line[i] += mixed[0, i] * corners
            for i in range(nw - 3):
                dxz, dyz = gap[RIGHT, i + 3] - gap[RIGHT, i], gap[ABOVE, i + 3] - gap[ABOVE, i]
                row += mixed[1, i] * dxz * dxz + mixed[2, i] * dyz * dyz
                line[i] += across[i] - across[i + 3]
            for i in range(3, nw):
                line[i] += across[i] - across[i - 3]
            for i in range(nw):
                line[i] *= scale
            total += np.float64(row)
    return total


def value_and_gradient(
    field: npt.ArrayLike, spacing: npt.ArrayLike, out: Float32 | None = None
) -> tuple[float, Float32]:
    """Mean of ``w_xx^2 + w_yy^2 + w_zz^2 + 2 (w_xy^2 + w_xz^2 + w_yz^2)`` and its gradient by `field`.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Displacement or velocity u, voxels; ``w = spacing u``.
    spacing : array, shape (3,)
        Voxel size, mm.
    out : float32 array, shape (X, Y, Z, 3), optional
        Where to write the gradient; not `field`.

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
    nx, ny, nz = values.shape[:3]
    out = np.empty_like(values) if out is None else out
    second = (size[None, None, :] / (size[:, None, None] * size[None, :, None])) ** 2
    pure = along_rows(second[[0, 1, 2], [0, 1, 2]], nz)
    mixed = along_rows(2 * second[[0, 0, 1], [1, 2, 2]], nz)
    count = nx * ny * nz
    rows = (nx, ny, 3 * nz)
    source, target, scale = values.reshape(rows), out.reshape(rows), np.float32(2 / count)
    parts = run_blocks(_bending, nx, source, pure, mixed, _bands(nx), _bands(ny), scale, target)
    return sum(parts) / count, out
