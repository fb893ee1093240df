"""Diffusion: squared first derivatives.

Source: Horn and Schunck, Artificial Intelligence 17 (1981), doi:10.1016/0004-3702(81)90024-2; Modersitzki,
FAIR: Flexible Algorithms for Image Registration (2009), doi:10.1137/1.9780898718843.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import kernel, run_blocks
from regcore.regularisers.field import Float32, along_rows, checked, slopes


@kernel
def _diffusion(start, stop, field, weight, scale, out):  # type: ignore[no-untyped-def]
    nx, ny, nw = field.shape
    total = np.float64(0)
    for x in range(start, stop):
        for y in range(ny):
            here, line = field[x, y], out[x, y]
            left, right = field[max(x - 1, 0), y], field[min(x + 1, nx - 1), y]
            below, above = field[x, max(y - 1, 0)], field[x, min(y + 1, ny - 1)]
            row = np.float32(0)
            for i in range(nw):
                dx, dy = right[i] - here[i], above[i] - here[i]
                row += weight[0, i] * dx * dx + weight[1, i] * dy * dy
                line[i] = scale * (
                    weight[0, i] * (here[i] - left[i] - dx) + weight[1, i] * (here[i] - below[i] - dy)
                )
            # neighbours along a row are three values apart; two loops, for one would depend on itself
            for i in range(nw - 3):
                dz = here[i + 3] - here[i]
                row += weight[2, i] * dz * dz
                line[i] -= scale * weight[2, i] * dz
            for i in range(3, nw):
                line[i] += scale * weight[2, i] * (here[i] - here[i - 3])
            total += np.float64(row)
    return total


def value_and_gradient(
    field: npt.ArrayLike, spacing: npt.ArrayLike, out: Float32 | None = None
) -> tuple[float, Float32]:
    """Mean of ``|grad w|^2 / 2`` over the voxels, and its exact gradient with respect to `field`.

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
        Without unit; zero for a translation.
    gradient : float32 array, shape (X, Y, Z, 3)
        Per voxel of displacement.

    Raises
    ------
    InputError
        If a shape is another one, or a voxel size is not positive.

    Examples
    --------
    >>> field = np.zeros((2, 1, 1, 3), np.float32)
    >>> field[1, 0, 0, 0] = 0.5
    >>> value, gradient = value_and_gradient(field, (2.0, 2.0, 2.0))
    >>> value, gradient[:, 0, 0, 0]
    (0.0625, array([-0.25,  0.25], dtype=float32))
    """
    values, size = checked(field, spacing)
    nx, ny, nz = values.shape[:3]
    out = np.empty_like(values) if out is None else out
    weight = along_rows(slopes(size).T ** 2, nz)
    count = nx * ny * nz
    rows = (nx, ny, 3 * nz)
    parts = run_blocks(_diffusion, nx, values.reshape(rows), weight, np.float32(1 / count), out.reshape(rows))
    return 0.5 * sum(parts) / count, out
