"""Total variation: lengths of first derivatives, which let a field jump where organs slide.

Source: Rudin, Osher and Fatemi, Physica D 60 (1992), doi:10.1016/0167-2789(92)90242-F, for the energy;
Vishnevskiy et al., IEEE Transactions on Medical Imaging 36 (2017), doi:10.1109/TMI.2016.2610583, in
registration.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.layout import from_components
from regcore.kernels.parallel import kernel, run_blocks
from regcore.regularisers.field import Float32, checked, slopes

EPSILON = 0.01


@kernel
def _lengths(start, stop, field, weight, epsilon, out):  # type: ignore[no-untyped-def]
    """One over the smoothed length of the derivative; returns the sum of lengths."""
    _, nx, ny, nz = field.shape
    total = np.float64(0)
    for x in range(start, stop):
        x1 = min(x + 1, nx - 1)
        for y in range(ny):
            y1 = min(y + 1, ny - 1)
            row = np.float32(0)
            for z in range(nz):
                z1 = min(z + 1, nz - 1)
                square = np.float32(0)
                for c in range(3):
                    u = field[c, x, y, z]
                    dx, dy, dz = field[c, x1, y, z] - u, field[c, x, y1, z] - u, field[c, x, y, z1] - u
                    square += weight[c, 0] * dx * dx + weight[c, 1] * dy * dy + weight[c, 2] * dz * dz
                length = np.sqrt(square + epsilon * epsilon)
                # length - epsilon, without losing the digits of a small square
                row += square / (length + epsilon)
                out[x, y, z] = np.float32(1) / length
            total += np.float64(row)
    return total


@kernel
def _pull(start, stop, field, inverse_length, weight, scale, out):  # type: ignore[no-untyped-def]
    _, nx, ny, nz = field.shape
    for x in range(start, stop):
        x0, x1 = max(x - 1, 0), min(x + 1, nx - 1)
        for y in range(ny):
            y0, y1 = max(y - 1, 0), min(y + 1, ny - 1)
            for z in range(nz):
                z0, z1 = max(z - 1, 0), min(z + 1, nz - 1)
                here, left = inverse_length[x, y, z], inverse_length[x0, y, z]
                below, behind = inverse_length[x, y0, z], inverse_length[x, y, z0]
                for c in range(3):
                    u = field[c, x, y, z]
                    pull_x = left * (u - field[c, x0, y, z]) - here * (field[c, x1, y, z] - u)
                    pull_y = below * (u - field[c, x, y0, z]) - here * (field[c, x, y1, z] - u)
                    pull_z = behind * (u - field[c, x, y, z0]) - here * (field[c, x, y, z1] - u)
                    out[c, x, y, z] = scale * (
                        weight[c, 0] * pull_x + weight[c, 1] * pull_y + weight[c, 2] * pull_z
                    )


def value_and_gradient(
    field: npt.ArrayLike, spacing: npt.ArrayLike, epsilon: float = EPSILON
) -> tuple[float, Float32]:
    """Mean of ``sqrt(|grad w|^2 + epsilon^2) - epsilon`` and its exact gradient with respect to `field`.

    All components share one length, so that a jump in any direction costs the same.

    Parameters
    ----------
    field : array, shape (X, Y, Z, 3)
        Displacement or velocity u, voxels; ``w = spacing u``.
    spacing : array, shape (3,)
        Voxel size, mm.
    epsilon : float
        Derivative, mm per mm, below which the energy is quadratic like diffusion, and above which it is
        linear; what makes it differentiable.

    Returns
    -------
    value : float
        Without unit; zero for a translation.
    gradient : float32 array, shape (X, Y, Z, 3)
        Per voxel of displacement.

    Raises
    ------
    InputError
        If a shape is another one, or a voxel size or `epsilon` is not positive.

    Examples
    --------
    >>> jump = np.zeros((8, 1, 1, 3), np.float32)
    >>> jump[4:, ..., 1] = 3.0
    >>> round(8 * value_and_gradient(jump, (1.0, 1.0, 1.0))[0], 2)
    2.99
    """
    if not 0 < epsilon < float("inf"):
        raise InputError(f"epsilon: expected a positive number, found {epsilon:g}")
    values, size = checked(field, spacing)
    weight, planes = slopes(size) ** 2, values.shape[1]
    inverse_length, out, count = np.empty_like(values[0]), np.empty_like(values), values[0].size
    parts = run_blocks(_lengths, planes, values, weight, np.float32(epsilon), inverse_length)
    run_blocks(_pull, planes, values, inverse_length, weight, np.float32(1 / count), out)
    return sum(parts) / count, from_components(out)
