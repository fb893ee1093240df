"""Diffusion: squared first derivatives.

Source: Horn and Schunck, Artificial Intelligence 17 (1981), doi:10.1016/0004-3702(81)90024-2; Modersitzki,
FAIR: Flexible Algorithms for Image Registration (2009), doi:10.1137/1.9780898718843.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.layout import from_components
from regcore.kernels.parallel import kernel, run_blocks
from regcore.regularisers.field import Float32, checked, slopes


@kernel
def _diffusion(start, stop, field, weight, scale, out):  # type: ignore[no-untyped-def]
    _, nx, ny, nz = field.shape
    total = np.float64(0)
    for x in range(start, stop):
        for c in range(3):
            wx, wy, wz = weight[c, 0], weight[c, 1], weight[c, 2]
            for y in range(ny):
                here, line = field[c, x, y], out[c, x, y]
                left, right = field[c, max(x - 1, 0), y], field[c, min(x + 1, nx - 1), y]
                below, above = field[c, x, max(y - 1, 0)], field[c, x, min(y + 1, ny - 1)]
                row = np.float32(0)
                for z in range(nz):
                    dx, dy = right[z] - here[z], above[z] - here[z]
                    row += wx * dx * dx + wy * dy * dy
                    line[z] = scale * (wx * (here[z] - left[z] - dx) + wy * (here[z] - below[z] - dy))
                # two loops, for one would depend on itself
                for z in range(nz - 1):
                    dz = here[z + 1] - here[z]
                    row += wz * dz * dz
                    line[z] -= scale * wz * dz
                for z in range(1, nz):
                    line[z] += scale * wz * (here[z] - here[z - 1])
                total += np.float64(row)
    return total


def value_and_gradient(field: npt.ArrayLike, spacing: npt.ArrayLike) -> tuple[float, Float32]:
    """Mean of ``|grad w|^2 / 2`` over the voxels, and its exact gradient with respect to `field`.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Displacement or velocity u, voxels; ``w = spacing u``.
    spacing : array, shape (3,)
        Voxel size, mm.

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
    out, count = np.empty_like(values), values[0].size
    scale = np.float32(1 / count)
    parts = run_blocks(_diffusion, values.shape[1], values, slopes(size) ** 2, scale, out)
    return 0.5 * sum(parts) / count, from_components(out)
