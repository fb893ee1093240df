"""Read an image at displaced, affinely mapped voxel positions: linear with or without gradient, and nearest.

A position counts as inside within half a voxel of the outermost voxel centres, and there takes the edge
value, as ITK does; elsewhere it reads zero. A singleton axis therefore has a thickness and no gradient.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]
NO_DISPLACEMENT: Float32 = np.zeros((1, 1, 1, 3), np.float32)


@inline
def position(matrix, displacement, displaced, x, y, z):  # type: ignore[no-untyped-def]
    """Image position of output voxel (x, y, z)."""
    px, py, pz = np.float32(x), np.float32(y), np.float32(z)
    if displaced:
        px += displacement[x, y, z, 0]
        py += displacement[x, y, z, 1]
        pz += displacement[x, y, z, 2]
    qx = matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]
    qy = matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]
    qz = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
    return qx, qy, qz


@inline
def inside(q, size):  # type: ignore[no-untyped-def]
    """Whether a coordinate lies within half a voxel of the samples of an axis."""
    return np.float32(-0.5) <= q <= size - np.float32(0.5)


@inline
def bracket(q, size):  # type: ignore[no-untyped-def]
    """Lower sample, upper sample and weight of the upper one, clamped to the axis."""
    q = min(max(q, np.float32(0)), np.float32(size - 1))
    low = min(int(q), max(size - 2, 0))
    return low, min(low + 1, size - 1), np.float32(q - np.float32(low))


@kernel
def _linear(start, stop, image, matrix, displacement, displaced, warped):  # type: ignore[no-untyped-def]
    nx, ny, nz = image.shape
    for x in range(start, stop):
        for y in range(warped.shape[1]):
            for z in range(warped.shape[2]):
                qx, qy, qz = position(matrix, displacement, displaced, x, y, z)
                value = np.float32(0)
                if inside(qx, nx) and inside(qy, ny) and inside(qz, nz):
                    x0, x1, a = bracket(qx, nx)
                    y0, y1, b = bracket(qy, ny)
                    z0, z1, c = bracket(qz, nz)
                    v00 = image[x0, y0, z0] + c * (image[x0, y0, z1] - image[x0, y0, z0])
                    v01 = image[x0, y1, z0] + c * (image[x0, y1, z1] - image[x0, y1, z0])
                    v10 = image[x1, y0, z0] + c * (image[x1, y0, z1] - image[x1, y0, z0])
                    v11 = image[x1, y1, z0] + c * (image[x1, y1, z1] - image[x1, y1, z0])
                    v0 = v00 + b * (v01 - v00)
                    v1 = v10 + b * (v11 - v10)
                    value = v0 + a * (v1 - v0)
                warped[x, y, z] = value


@kernel
def _linear_gradient(start, stop, image, matrix, displacement, displaced, warped, gradient):  # type: ignore[no-untyped-def]
    nx, ny, nz = image.shape
    for x in range(start, stop):
        for y in range(warped.shape[1]):
            for z in range(warped.shape[2]):
                qx, qy, qz = position(matrix, displacement, displaced, x, y, z)
                value = np.float32(0)
                gx = np.float32(0)
                gy = np.float32(0)
                gz = np.float32(0)
                if inside(qx, nx) and inside(qy, ny) and inside(qz, nz):
                    x0, x1, a = bracket(qx, nx)
                    y0, y1, b = bracket(qy, ny)
                    z0, z1, c = bracket(qz, nz)
                    d00 = image[x0, y0, z1] - image[x0, y0, z0]
                    d01 = image[x0, y1, z1] - image[x0, y1, z0]
                    d10 = image[x1, y0, z1] - image[x1, y0, z0]
                    d11 = image[x1, y1, z1] - image[x1, y1, z0]
                    v00 = image[x0, y0, z0] + c * d00
                    v01 = image[x0, y1, z0] + c * d01
                    v10 = image[x1, y0, z0] + c * d10
                    v11 = image[x1, y1, z0] + c * d11
                    v0 = v00 + b * (v01 - v00)
                    v1 = v10 + b * (v11 - v10)
                    value = v0 + a * (v1 - v0)
                    # beyond the outermost centres the value is the edge's, wherever along the axis
                    if np.float32(0) <= qx <= nx - 1:
                        gx = v1 - v0
                    if np.float32(0) <= qy <= ny - 1:
                        gy = (v01 - v00) + a * ((v11 - v10) - (v01 - v00))
                    if np.float32(0) <= qz <= nz - 1:
                        d0 = d00 + b * (d01 - d00)
                        d1 = d10 + b * (d11 - d10)
                        gz = d0 + a * (d1 - d0)
                warped[x, y, z] = value
                gradient[x, y, z, 0] = gx
                gradient[x, y, z, 1] = gy
                gradient[x, y, z, 2] = gz


@kernel
def _nearest(start, stop, image, matrix, displacement, displaced, warped):  # type: ignore[no-untyped-def]
    nx, ny, nz = image.shape
    for x in range(start, stop):
        for y in range(warped.shape[1]):
            for z in range(warped.shape[2]):
                qx, qy, qz = position(matrix, displacement, displaced, x, y, z)
                if inside(qx, nx) and inside(qy, ny) and inside(qz, nz):
                    ix = min(int(max(qx, np.float32(0)) + np.float32(0.5)), nx - 1)
                    iy = min(int(max(qy, np.float32(0)) + np.float32(0.5)), ny - 1)
                    iz = min(int(max(qz, np.float32(0)) + np.float32(0.5)), nz - 1)
                    warped[x, y, z] = image[ix, iy, iz]
                else:
                    warped[x, y, z] = 0


def _field(
    displacement: Float32 | None, shape: tuple[int, ...] | None
) -> tuple[Float32, bool, tuple[int, ...]]:
    """The displacement for a kernel, whether there is one, and the output shape."""
    if displacement is not None:
        return np.ascontiguousarray(displacement, np.float32), True, displacement.shape[:3]
    if shape is None:
        raise ValueError("sample: expected a displacement or an output shape")
    return NO_DISPLACEMENT, False, shape


def _matrix(matrix: npt.ArrayLike) -> Float32:
    return np.ascontiguousarray(np.asarray(matrix)[:3, :4], np.float32)


def sample_linear(
    image: Float32,
    matrix: npt.ArrayLike,
    displacement: Float32 | None = None,
    shape: tuple[int, ...] | None = None,
) -> Float32:
    """Read `image` by trilinear interpolation at ``matrix @ [p + u(p), 1]`` for every output voxel p.

    Parameters
    ----------
    image : float32 array, shape (X, Y, Z)
    matrix : array, shape (3 or 4, 4)
        Output voxel to image voxel.
    displacement : float32 array, shape (X', Y', Z', 3), optional
        Output voxels.
    shape : tuple of 3 int, optional
        Output shape, needed where there is no displacement.

    Returns
    -------
    float32 array, shape (X', Y', Z')
        Zero outside the image.

    Examples
    --------
    >>> image = np.arange(8, dtype=np.float32).reshape(8, 1, 1)
    >>> shift = np.eye(4)
    >>> shift[0, 3] = 0.5
    >>> sample_linear(image, shift, shape=(3, 1, 1)).ravel()
    array([0.5, 1.5, 2.5], dtype=float32)
    """
    field, displaced, shape = _field(displacement, shape)
    warped = np.empty(shape, np.float32)
    image = np.ascontiguousarray(image, np.float32)
    run_blocks(_linear, shape[0], image, _matrix(matrix), field, displaced, warped)
    return warped


def sample_linear_gradient(
    image: Float32,
    matrix: npt.ArrayLike,
    displacement: Float32 | None = None,
    shape: tuple[int, ...] | None = None,
    out: tuple[Float32, Float32] | None = None,
) -> tuple[Float32, Float32]:
    """`sample_linear` and the derivative of what it reads along each voxel axis of `image`.

    Returns
    -------
    warped : float32 array, shape (X', Y', Z')
    gradient : float32 array, shape (X', Y', Z', 3)
        Per image voxel, the exact derivative of the interpolant; zero outside, along an axis in whose
        outermost half voxel the position lies, and along a singleton axis.
    """
    field, displaced, shape = _field(displacement, shape)
    if out is None:
        out = (np.empty(shape, np.float32), np.empty((*shape, 3), np.float32))
    image = np.ascontiguousarray(image, np.float32)
    run_blocks(_linear_gradient, shape[0], image, _matrix(matrix), field, displaced, *out)
    return out


def sample_nearest(
    image: npt.NDArray[Any],
    matrix: npt.ArrayLike,
    displacement: Float32 | None = None,
    shape: tuple[int, ...] | None = None,
) -> npt.NDArray[Any]:
    """Value of the nearest voxel of `image`, of any type, at ``matrix @ [p + u(p), 1]``; zero outside."""
    field, displaced, shape = _field(displacement, shape)
    warped = np.empty(shape, image.dtype)
    image = np.ascontiguousarray(image)
    run_blocks(_nearest, shape[0], image, _matrix(matrix), field, displaced, warped)
    return warped
