"""Read an image at displaced, affinely mapped voxel positions: linear with or without gradient, and nearest.

A position counts as inside within half a voxel of the outermost voxel centres, and there takes the edge
value, as ITK does; elsewhere it reads zero. A singleton axis therefore has a thickness and no gradient.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.layout import components, empty_field, from_components
from regcore.kernels.parallel import inline, kernel, run_blocks

Float32 = npt.NDArray[np.float32]
NO_DISPLACEMENT: Float32 = np.zeros((3, 1, 1, 1), np.float32)


@inline
def position(matrix, displacement, displaced, x, y, z):  # type: ignore[no-untyped-def]
    """Image position of output voxel (x, y, z); the displacement by components."""
    px, py, pz = np.float32(x), np.float32(y), np.float32(z)
    if displaced:
        px += displacement[0, x, y, z]
        py += displacement[1, x, y, z]
        pz += displacement[2, x, y, z]
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


# The loops over a row come in three: find the positions, gather the eight corners, interpolate. The first
# and the last do the same to neighbouring numbers, which the compiler turns into vector instructions; a
# single loop would be several times slower.


@kernel
def positions_of_row(matrix, displacement, displaced, x, y, rows):  # type: ignore[no-untyped-def]
    """Image positions of the output voxels (x, y, :), one row of `rows` a coordinate."""
    px, py = np.float32(x), np.float32(y)
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    s0 = m00 * px + m01 * py + matrix[0, 3]
    s1 = m10 * px + m11 * py + matrix[1, 3]
    s2 = m20 * px + m21 * py + matrix[2, 3]
    qx, qy, qz = rows[0], rows[1], rows[2]
    if displaced:
        ux, uy, uz = displacement[0, x, y], displacement[1, x, y], displacement[2, x, y]
        for z in range(len(qx)):
            a, b, c = ux[z], uy[z], np.float32(np.int32(z)) + uz[z]
            qx[z] = s0 + (m00 * a + m01 * b + m02 * c)
            qy[z] = s1 + (m10 * a + m11 * b + m12 * c)
            qz[z] = s2 + (m20 * a + m21 * b + m22 * c)
    else:
        for z in range(len(qx)):
            c = np.float32(np.int32(z))
            qx[z] = s0 + m02 * c
            qy[z] = s1 + m12 * c
            qz[z] = s2 + m22 * c


@kernel
def brackets_of_row(rows, shape, corner):  # type: ignore[no-untyped-def]
    """Turn positions, in place, into weights of the upper samples; the lowest sample's place in `corner`.

    The fourth row becomes 1 for positions inside and 0 for others; the last three likewise, but 0 too along
    an axis where the position lies beyond the outermost sample, whose value it takes there.
    """
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    nx, ny, nz = np.int32(shape[0]), np.int32(shape[1]), np.int32(shape[2])
    last_x, last_y, last_z = np.float32(nx - 1), np.float32(ny - 1), np.float32(nz - 1)
    # the upper sample must exist too, but along a singleton axis
    high_x = np.int32(max(shape[0] - 2, 0))
    high_y = np.int32(max(shape[1] - 2, 0))
    high_z = np.int32(max(shape[2] - 2, 0))
    qx, qy, qz, within = rows[0], rows[1], rows[2], rows[3]
    free_x, free_y, free_z = rows[4], rows[5], rows[6]
    for z in range(len(qx)):
        a = min(max(qx[z], zero), last_x)
        b = min(max(qy[z], zero), last_y)
        c = min(max(qz[z], zero), last_z)
        out = max(max(abs(qx[z] - a), abs(qy[z] - b)), abs(qz[z] - c))
        counts = one if out <= half else zero
        within[z] = counts
        free_x[z] = counts if qx[z] == a else zero
        free_y[z] = counts if qy[z] == b else zero
        free_z[z] = counts if qz[z] == c else zero
        # clamped as integers too: what is not a number must not read outside the image
        i = max(min(np.int32(a), high_x), np.int32(0))
        j = max(min(np.int32(b), high_y), np.int32(0))
        k = max(min(np.int32(c), high_z), np.int32(0))
        qx[z] = a - np.float32(i)
        qy[z] = b - np.float32(j)
        qz[z] = c - np.float32(k)
        corner[z] = np.int32((i * ny + j) * nz + k)


@kernel
def gather_corners(flat, shape, corner, corners):  # type: ignore[no-untyped-def]
    """Read the eight samples around every position of a row."""
    step_x = np.uint32(shape[1] * shape[2] if shape[0] > 1 else 0)
    step_y = np.uint32(shape[2] if shape[1] > 1 else 0)
    step_z = np.uint32(1 if shape[2] > 1 else 0)
    c000, c001, c010, c011 = corners[0], corners[1], corners[2], corners[3]
    c100, c101, c110, c111 = corners[4], corners[5], corners[6], corners[7]
    for z in range(len(corner)):
        at = np.uint32(corner[z])
        c000[z], c001[z] = flat[at], flat[at + step_z]
        c100[z], c101[z] = flat[at + step_x], flat[at + step_x + step_z]
        at += step_y
        c010[z], c011[z] = flat[at], flat[at + step_z]
        c110[z], c111[z] = flat[at + step_x], flat[at + step_x + step_z]


@kernel
def interpolate_row(rows, corners, out):  # type: ignore[no-untyped-def]
    """Trilinear values of a row of gathered corners."""
    wx, wy, wz, within = rows[0], rows[1], rows[2], rows[3]
    c000, c001, c010, c011 = corners[0], corners[1], corners[2], corners[3]
    c100, c101, c110, c111 = corners[4], corners[5], corners[6], corners[7]
    for z in range(len(out)):
        a, b, c = wx[z], wy[z], wz[z]
        v00 = c000[z] + c * (c001[z] - c000[z])
        v01 = c010[z] + c * (c011[z] - c010[z])
        v10 = c100[z] + c * (c101[z] - c100[z])
        v11 = c110[z] + c * (c111[z] - c110[z])
        v0 = v00 + b * (v01 - v00)
        v1 = v10 + b * (v11 - v10)
        out[z] = within[z] * (v0 + a * (v1 - v0))


@kernel
def _linear(start, stop, image, matrix, displacement, displaced, warped):  # type: ignore[no-untyped-def]
    _, ny, nz = warped.shape
    flat, shape = image.reshape(-1), image.shape
    rows, corners = np.empty((7, nz), np.float32), np.empty((8, nz), np.float32)
    corner = np.empty(nz, np.int32)
    for x in range(start, stop):
        for y in range(ny):
            positions_of_row(matrix, displacement, displaced, x, y, rows)
            brackets_of_row(rows, shape, corner)
            gather_corners(flat, shape, corner, corners)
            interpolate_row(rows, corners, warped[x, y])


@kernel
def _linear_gradient(start, stop, image, matrix, displacement, displaced, warped, gradient):  # type: ignore[no-untyped-def]
    _, ny, nz = warped.shape
    flat, shape = image.reshape(-1), image.shape
    rows, corners = np.empty((7, nz), np.float32), np.empty((8, nz), np.float32)
    corner = np.empty(nz, np.int32)
    wx, wy, wz, within = rows[0], rows[1], rows[2], rows[3]
    free_x, free_y, free_z = rows[4], rows[5], rows[6]
    c000, c001, c010, c011 = corners[0], corners[1], corners[2], corners[3]
    c100, c101, c110, c111 = corners[4], corners[5], corners[6], corners[7]
    for x in range(start, stop):
        for y in range(ny):
            positions_of_row(matrix, displacement, displaced, x, y, rows)
            brackets_of_row(rows, shape, corner)
            gather_corners(flat, shape, corner, corners)
            out, gx, gy, gz = warped[x, y], gradient[0, x, y], gradient[1, x, y], gradient[2, x, y]
            for z in range(nz):
                a, b, c = wx[z], wy[z], wz[z]
                d00, d01 = c001[z] - c000[z], c011[z] - c010[z]
                d10, d11 = c101[z] - c100[z], c111[z] - c110[z]
                v00, v01 = c000[z] + c * d00, c010[z] + c * d01
                v10, v11 = c100[z] + c * d10, c110[z] + c * d11
                e0, e1 = v01 - v00, v11 - v10
                v0, v1 = v00 + b * e0, v10 + b * e1
                d0, d1 = d00 + b * (d01 - d00), d10 + b * (d11 - d10)
                out[z] = within[z] * (v0 + a * (v1 - v0))
                gx[z] = free_x[z] * (v1 - v0)
                gy[z] = free_y[z] * (e0 + a * (e1 - e0))
                gz[z] = free_z[z] * (d0 + a * (d1 - d0))


@kernel
def _force(start, stop, image, matrix, displacement, displaced, slope, out):  # type: ignore[no-untyped-def]
    _, ny, nz = slope.shape
    flat, shape = image.reshape(-1), image.shape
    rows, corners = np.empty((7, nz), np.float32), np.empty((8, nz), np.float32)
    corner = np.empty(nz, np.int32)
    wx, wy, wz = rows[0], rows[1], rows[2]
    free_x, free_y, free_z = rows[4], rows[5], rows[6]
    c000, c001, c010, c011 = corners[0], corners[1], corners[2], corners[3]
    c100, c101, c110, c111 = corners[4], corners[5], corners[6], corners[7]
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    for x in range(start, stop):
        for y in range(ny):
            positions_of_row(matrix, displacement, displaced, x, y, rows)
            brackets_of_row(rows, shape, corner)
            gather_corners(flat, shape, corner, corners)
            line, ox, oy, oz = slope[x, y], out[0, x, y], out[1, x, y], out[2, x, y]
            # as in `_linear_gradient`; with rows for the gradient in between it takes a third longer
            for z in range(nz):
                a, b, c = wx[z], wy[z], wz[z]
                d00, d01 = c001[z] - c000[z], c011[z] - c010[z]
                d10, d11 = c101[z] - c100[z], c111[z] - c110[z]
                v00, v01 = c000[z] + c * d00, c010[z] + c * d01
                v10, v11 = c100[z] + c * d10, c110[z] + c * d11
                e0, e1 = v01 - v00, v11 - v10
                d0, d1 = d00 + b * (d01 - d00), d10 + b * (d11 - d10)
                gx = line[z] * (free_x[z] * ((v10 + b * e1) - (v00 + b * e0)))
                gy = line[z] * (free_y[z] * (e0 + a * (e1 - e0)))
                gz = line[z] * (free_z[z] * (d0 + a * (d1 - d0)))
                ox[z] = m00 * gx + m10 * gy + m20 * gz
                oy[z] = m01 * gx + m11 * gy + m21 * gz
                oz[z] = m02 * gx + m12 * gy + m22 * gz


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
    """Components of the displacement for a kernel, whether there is one, and the output shape."""
    if displacement is not None:
        return components(displacement), True, displacement.shape[:3]
    if shape is None:
        raise ValueError("sample: expected a displacement or an output shape")
    return NO_DISPLACEMENT, False, shape


def _image(image: Float32) -> Float32:
    if image.size >= 2**31:
        raise InputError(f"image: expected fewer than 2147483648 voxels, found {image.size}")
    return np.ascontiguousarray(image, np.float32)


def _matrix(matrix: npt.ArrayLike) -> Float32:
    return np.ascontiguousarray(np.asarray(matrix)[:3, :4], np.float32)


def sample_linear(
    image: Float32,
    matrix: npt.ArrayLike,
    displacement: Float32 | None = None,
    shape: tuple[int, ...] | None = None,
    out: Float32 | None = None,
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
    out : float32 array, shape (X', Y', Z'), optional
        Where to write.

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
    warped = np.empty(shape, np.float32) if out is None else out
    run_blocks(_linear, shape[0], _image(image), _matrix(matrix), field, displaced, warped)
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
        Per image voxel, the exact derivative of the interpolant; zero outside, along a singleton axis, and
        along an axis beyond whose outermost sample a position lies.
    """
    field, displaced, shape = _field(displacement, shape)
    warped, gradient = (np.empty(shape, np.float32), empty_field(shape)) if out is None else out
    parts = components(gradient)
    run_blocks(_linear_gradient, shape[0], _image(image), _matrix(matrix), field, displaced, warped, parts)
    return warped, from_components(parts)


def sample_force(
    image: Float32, matrix: npt.ArrayLike, displacement: Float32, slope: Float32, out: Float32 | None = None
) -> Float32:
    """Derivative of an energy with respect to the displacement, from that by what `sample_linear` reads.

    As `fields.displacement_gradient` of what `sample_linear_gradient` finds, which is not stored.

    Parameters
    ----------
    image, matrix, displacement
        As `sample_linear` has them.
    slope : float32 array, shape (X', Y', Z')
        Derivative with respect to the intensities read.
    out : float32 array, shape (X', Y', Z', 3), optional
        Where to write, from `empty_field`.

    Examples
    --------
    >>> image = np.arange(8, dtype=np.float32).reshape(8, 1, 1)
    >>> still = np.zeros((8, 1, 1, 3), np.float32)
    >>> sample_force(image, np.eye(4), still, np.full((8, 1, 1), 2.0, np.float32))[3, 0, 0].tolist()
    [2.0, 0.0, 0.0]
    """
    parts = components(empty_field(slope.shape) if out is None else out)
    arrays = _image(image), _matrix(matrix), components(displacement), True, slope, parts
    run_blocks(_force, slope.shape[0], *arrays)
    return from_components(parts)


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
