"""Cubic B-spline interpolation: coefficients, and reading them at displaced, affinely mapped positions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from regcore.kernels.parallel import inline, kernel, run_blocks
from regcore.kernels.sample import _field, _matrix, inside, position

Float32 = npt.NDArray[np.float32]

_SIXTH = np.float32(1 / 6)


@inline
def weights(f):  # type: ignore[no-untyped-def]
    """Weights of the four coefficients around a position that lies `f` beyond the second."""
    g = np.float32(1) - f
    w0 = _SIXTH * g * g * g
    w1 = _SIXTH * (np.float32(4) - np.float32(3) * f * f * (np.float32(1) + g))
    w2 = _SIXTH * (np.float32(4) - np.float32(3) * g * g * (np.float32(1) + f))
    w3 = _SIXTH * f * f * f
    return w0, w1, w2, w3


@inline
def mirrored(index, size):  # type: ignore[no-untyped-def]
    """Index reflected about the first and the last sample."""
    if 0 <= index < size:
        return index
    if size == 1:
        return 0
    period = 2 * (size - 1)
    index = abs(index) % period
    return min(index, period - index)


@kernel
def _cubic(start, stop, coefficients, matrix, displacement, displaced, warped):  # type: ignore[no-untyped-def]
    nx, ny, nz = coefficients.shape
    for x in range(start, stop):
        for y in range(warped.shape[1]):
            for z in range(warped.shape[2]):
                qx, qy, qz = position(matrix, displacement, displaced, x, y, z)
                value = np.float32(0)
                if inside(qx, nx) and inside(qy, ny) and inside(qz, nz):
                    i, j, k = int(np.floor(qx)), int(np.floor(qy)), int(np.floor(qz))
                    wx = weights(np.float32(qx - np.float32(i)))
                    wy = weights(np.float32(qy - np.float32(j)))
                    wz = weights(np.float32(qz - np.float32(k)))
                    k0, k1 = mirrored(k - 1, nz), mirrored(k, nz)
                    k2, k3 = mirrored(k + 1, nz), mirrored(k + 2, nz)
                    for a in range(4):
                        ia = mirrored(i - 1 + a, nx)
                        row = np.float32(0)
                        for b in range(4):
                            jb = mirrored(j - 1 + b, ny)
                            row += wy[b] * (
                                wz[0] * coefficients[ia, jb, k0]
                                + wz[1] * coefficients[ia, jb, k1]
                                + wz[2] * coefficients[ia, jb, k2]
                                + wz[3] * coefficients[ia, jb, k3]
                            )
                        value += wx[a] * row
                warped[x, y, z] = value


def bspline_coefficients(image: npt.NDArray[np.floating]) -> Float32:
    """Coefficients of the cubic B-spline through every voxel, mirrored at the faces.

    Parameters
    ----------
    image : array, shape (X, Y, Z)

    Returns
    -------
    float32 array, shape (X, Y, Z)

    References
    ----------
    Unser et al. (1993), "B-spline signal processing: part II", IEEE Trans. Signal Processing 41(2),
    doi:10.1109/78.193221.

    Examples
    --------
    >>> bool(np.allclose(bspline_coefficients(np.full((4, 4, 4), 3.0, np.float32)), 3.0))
    True
    """
    source = np.asarray(image, dtype=np.float32)
    return np.ascontiguousarray(
        scipy.ndimage.spline_filter(source, order=3, output=np.float32, mode="mirror")
    )


def sample_cubic(
    coefficients: Float32,
    matrix: npt.ArrayLike,
    displacement: Float32 | None = None,
    shape: tuple[int, ...] | None = None,
) -> Float32:
    """Value of a cubic B-spline at ``matrix @ [p + u(p), 1]`` for every output voxel p.

    Parameters
    ----------
    coefficients : float32 array, shape (X, Y, Z)
        From `bspline_coefficients`.
    matrix : array, shape (3 or 4, 4)
        Output voxel to image voxel.
    displacement : float32 array, shape (X', Y', Z', 3), optional
        Output voxels.
    shape : tuple of 3 int, optional
        Output shape, needed where there is no displacement.

    Returns
    -------
    float32 array, shape (X', Y', Z')
        Zero outside the image. It may overshoot the range of the image near sharp edges.

    Examples
    --------
    >>> image = np.arange(8, dtype=np.float32).reshape(8, 1, 1)
    >>> sample_cubic(bspline_coefficients(image), np.eye(4), shape=(8, 1, 1)).ravel().round(4)
    array([0., 1., 2., 3., 4., 5., 6., 7.], dtype=float32)
    """
    field, displaced, shape = _field(displacement, shape)
    warped = np.empty(shape, np.float32)
    coefficients = np.ascontiguousarray(coefficients, np.float32)
    run_blocks(_cubic, shape[0], coefficients, _matrix(matrix), field, displaced, warped)
    return warped
