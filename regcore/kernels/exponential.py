"""Exponential of a stationary velocity field by scaling and squaring, its adjoint, and the logarithm."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.compose import compose, longest_vector
from regcore.kernels.layout import components, from_components
from regcore.kernels.parallel import BLOCK_PLANES, inline, kernel, run_blocks
from regcore.kernels.sample import bracket

Float32 = npt.NDArray[np.float32]

LONGEST_FIRST_STEP_VOX = 0.125


def exponential(velocity: Float32) -> Float32:
    """Displacement at unit time of the flow of a stationary velocity field.

    The velocity is halved until its longest vector is at most an eighth of a voxel, and the short step is
    then composed with itself as many times. ``exponential(-v)`` is the inverse of ``exponential(v)``.

    Parameters
    ----------
    velocity : array, shape (X, Y, Z, 3)
        Velocity in voxels of its grid per unit time.

    Returns
    -------
    array, shape (X, Y, Z, 3)
        Displacement, float32, in voxels of the same grid.

    Raises
    ------
    InputError
        If `velocity` is not finite or not of shape (X, Y, Z, 3).

    References
    ----------
    Arsigny et al. (2006), "A log-Euclidean framework for statistics on diffeomorphisms", MICCAI,
    doi:10.1007/11866565_113.

    Examples
    --------
    >>> velocity = np.zeros((8, 8, 8, 3), np.float32)
    >>> velocity[..., 1] = 2.0
    >>> exponential(velocity)[4, 4, 4]
    array([0., 2., 0.], dtype=float32)
    """
    for displacement in _squarings(velocity):
        last = displacement
    return last


def _squarings(velocity: Float32) -> Iterator[Float32]:
    """The first short step, then what every squaring makes of it; the last is the exponential."""
    field = np.asarray(velocity, dtype=np.float32)
    if field.ndim != 4 or field.shape[3] != 3:
        raise InputError(f"velocity: expected shape (X, Y, Z, 3), found {field.shape}")
    if not np.isfinite(field).all():
        raise InputError("velocity: expected finite values, found NaN or infinity")
    longest = longest_vector(field)
    squarings = max(int(np.ceil(np.log2(longest / LONGEST_FIRST_STEP_VOX))), 0) if longest > 0 else 0
    displacement = field * np.float32(0.5**squarings)
    yield displacement
    for _ in range(squarings):
        displacement = compose(displacement, displacement)
        yield displacement


@inline
def _corner(field, out, x, y, z, weight, gx, gy, gz):  # type: ignore[no-untyped-def]
    """Spread a vector to one of the voxels that were read; returns its product with what was read there."""
    out[0, x, y, z] += weight * gx
    out[1, x, y, z] += weight * gy
    out[2, x, y, z] += weight * gz
    return gx * field[0, x, y, z] + gy * field[1, x, y, z] + gz * field[2, x, y, z]


@kernel
def _unsquare(start, stop, parity, planes, field, slope, out):  # type: ignore[no-untyped-def]
    # every other slab of planes, so far apart that no two threads add to one voxel
    _, nx, ny, nz = field.shape
    one, zero = np.float32(1), np.float32(0)
    for slab in range(start, stop):
        first = (2 * slab + parity) * planes
        for x in range(first, min(first + planes, nx)):
            for y in range(ny):
                for z in range(nz):
                    gx, gy, gz = slope[0, x, y, z], slope[1, x, y, z], slope[2, x, y, z]
                    qx = np.float32(x) + field[0, x, y, z]
                    qy = np.float32(y) + field[1, x, y, z]
                    qz = np.float32(z) + field[2, x, y, z]
                    x0, x1, a = bracket(qx, nx)
                    y0, y1, b = bracket(qy, ny)
                    z0, z1, c = bracket(qz, nz)
                    w11 = a * b
                    w10, w01 = a - w11, b - w11
                    w00, d = one - a - w01, one - c
                    s000 = _corner(field, out, x0, y0, z0, w00 * d, gx, gy, gz)
                    s001 = _corner(field, out, x0, y0, z1, w00 * c, gx, gy, gz)
                    s010 = _corner(field, out, x0, y1, z0, w01 * d, gx, gy, gz)
                    s011 = _corner(field, out, x0, y1, z1, w01 * c, gx, gy, gz)
                    s100 = _corner(field, out, x1, y0, z0, w10 * d, gx, gy, gz)
                    s101 = _corner(field, out, x1, y0, z1, w10 * c, gx, gy, gz)
                    s110 = _corner(field, out, x1, y1, z0, w11 * d, gx, gy, gz)
                    s111 = _corner(field, out, x1, y1, z1, w11 * c, gx, gy, gz)
                    # beyond the edge what is read does not change with the position
                    s00, s01 = d * s000 + c * s001, d * s010 + c * s011
                    s10, s11 = d * s100 + c * s101, d * s110 + c * s111
                    if zero <= qx <= nx - 1:
                        gx += (one - b) * (s10 - s00) + b * (s11 - s01)
                    if zero <= qy <= ny - 1:
                        gy += (one - a) * (s01 - s00) + a * (s11 - s10)
                    if zero <= qz <= nz - 1:
                        gz += w00 * (s001 - s000) + w01 * (s011 - s010)
                        gz += w10 * (s101 - s100) + w11 * (s111 - s110)
                    out[0, x, y, z] += gx
                    out[1, x, y, z] += gy
                    out[2, x, y, z] += gz


def unsquare(field: Float32, slope: Float32) -> Float32:
    """Derivative of an energy by a displacement u, from that by ``compose(u, u)``.

    Parameters
    ----------
    field, slope : float32 array, shape (X, Y, Z, 3)
        The displacement in voxels, and the derivative by its square.

    Returns
    -------
    float32 array, shape (X, Y, Z, 3)
        The exact transpose of the derivative; the same bits for any number of threads.

    Examples
    --------
    >>> rest, slope = np.zeros((2, 2, 2, 3), np.float32), np.ones((2, 2, 2, 3), np.float32)
    >>> bool((unsquare(rest, slope) == 2).all())
    True
    """
    # what a slab adds to reaches beyond it by the longest displacement and a voxel, to either side
    planes = max(BLOCK_PLANES, 2 * (int(np.ceil(longest_vector(field))) + 1))
    parts, by_square, slabs = components(field), components(slope), -(-field.shape[0] // planes)
    out = np.zeros_like(parts)
    for parity in (0, 1):
        count = (slabs - parity + 1) // 2
        run_blocks(_unsquare, count, parity, planes, parts, by_square, out, block=1)
    return from_components(out)


def exponential_and_adjoint(velocity: Float32) -> tuple[Float32, Callable[[Float32], Float32]]:
    """Displacement `exponential` of a velocity, and what brings derivatives by it back to the velocity.

    Parameters
    ----------
    velocity : array, shape (X, Y, Z, 3)
        Velocity in voxels of its grid per unit time.

    Returns
    -------
    displacement : float32 array, shape (X, Y, Z, 3)
    adjoint : callable
        Takes the derivative of an energy by the displacement, shape (X, Y, Z, 3), and returns the one by the
        velocity: the chain rule through every squaring. It keeps the displacements of all of them.

    Raises
    ------
    InputError
        If `velocity` is not finite or not of shape (X, Y, Z, 3).

    Examples
    --------
    >>> velocity = np.full((4, 4, 4, 3), 0.5, np.float32)
    >>> displacement, adjoint = exponential_and_adjoint(velocity)
    >>> round(float(adjoint(np.ones_like(displacement)).sum()), 4)
    192.0
    """
    steps = list(_squarings(velocity))

    def adjoint(slope: Float32) -> Float32:
        for step in steps[-2::-1]:
            slope = unsquare(step, slope)
        return slope * np.float32(0.5 ** (len(steps) - 1))

    return steps[-1], adjoint


def logarithm(displacement: Float32, iterations: int = 20, tolerance_vox: float = 1e-2) -> Float32:
    """Stationary velocity field whose flow comes nearest to a displacement.

    Starting from the displacement itself, the velocity is corrected by what is left of the map after its flow
    has been undone, ``exp(-v) o (id + u)``, until nothing longer than `tolerance_vox` is left or the rest no
    longer shrinks: not every diffeomorphism is the flow of a stationary velocity.

    Parameters
    ----------
    displacement : array, shape (X, Y, Z, 3)
        Displacement u in voxels of its grid, without folds.
    iterations : int
        Most corrections.
    tolerance_vox : float
        Longest vector left, voxels.

    Returns
    -------
    array, shape (X, Y, Z, 3)
        Velocity, float32, in voxels of the same grid per unit time.

    Raises
    ------
    InputError
        If `displacement` is not finite or not of shape (X, Y, Z, 3).

    References
    ----------
    Bossa et al. (2007), "Contributions to 3D diffeomorphic atlas estimation: application to brain images",
    MICCAI, doi:10.1007/978-3-540-75757-3_81, for the correction.

    Examples
    --------
    >>> shift = np.full((4, 4, 4, 3), 1.5, np.float32)
    >>> bool(np.allclose(logarithm(shift), 1.5))
    True
    """
    field = np.asarray(displacement, dtype=np.float32)
    velocity, best, least = field, field, np.inf
    for _ in range(iterations):
        rest = compose(exponential(-velocity), field)
        longest = longest_vector(rest)
        if longest >= least:
            break
        best, least = velocity, longest
        if longest < tolerance_vox:
            break
        velocity = velocity + rest
    return best
