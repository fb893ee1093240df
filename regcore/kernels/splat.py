"""Adjoint of linear sampling: spread values onto the voxels that `sample_linear` would have read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import kernel, run_blocks
from regcore.kernels.sample import _field, _matrix, bracket, inside, position

Float32 = npt.NDArray[np.float32]

PARTS = 4


@kernel
def _splat(start, stop, values, matrix, displacement, displaced, planes, parts):  # type: ignore[no-untyped-def]
    # a part is a fixed range of planes with a sum of its own: nothing depends on who adds first
    one = np.float32(1)
    for part in range(start, stop):
        image = parts[part]
        nx, ny, nz = image.shape
        for x in range(part * planes, min((part + 1) * planes, values.shape[0])):
            for y in range(values.shape[1]):
                for z in range(values.shape[2]):
                    qx, qy, qz = position(matrix, displacement, displaced, x, y, z)
                    if inside(qx, nx) and inside(qy, ny) and inside(qz, nz):
                        x0, x1, a = bracket(qx, nx)
                        y0, y1, b = bracket(qy, ny)
                        z0, z1, c = bracket(qz, nz)
                        low = (one - a) * values[x, y, z]
                        high = a * values[x, y, z]
                        image[x0, y0, z0] += low * (one - b) * (one - c)
                        image[x0, y0, z1] += low * (one - b) * c
                        image[x0, y1, z0] += low * b * (one - c)
                        image[x0, y1, z1] += low * b * c
                        image[x1, y0, z0] += high * (one - b) * (one - c)
                        image[x1, y0, z1] += high * (one - b) * c
                        image[x1, y1, z0] += high * b * (one - c)
                        image[x1, y1, z1] += high * b * c


def splat_linear(
    values: Float32,
    matrix: npt.ArrayLike,
    displacement: Float32 | None,
    shape: tuple[int, int, int],
) -> Float32:
    """Transpose of `regcore.kernels.sample.sample_linear` as a linear map of the image.

    ``sum(sample_linear(image, matrix, u) * values) == sum(image * splat_linear(values, matrix, u, shape))``.

    Parameters
    ----------
    values : float32 array, shape (X', Y', Z')
        A value for every sampled voxel.
    matrix : array, shape (3 or 4, 4)
        Voxel of `values` to voxel of the result.
    displacement : float32 array, shape (X', Y', Z', 3), optional
        In voxels of `values`, added before `matrix`.
    shape : tuple of 3 int
        Shape of the result.

    Returns
    -------
    float32 array of `shape`
        The sum has the same bits for any number of threads.

    Examples
    --------
    >>> shift = np.eye(4)
    >>> shift[0, 3] = 0.25
    >>> splat_linear(np.ones((1, 1, 1), np.float32), shift, None, (3, 1, 1)).ravel()
    array([0.75, 0.25, 0.  ], dtype=float32)
    """
    values = np.ascontiguousarray(values, np.float32)
    field, displaced, _ = _field(displacement, values.shape)
    planes = max(-(-values.shape[0] // PARTS), 1)
    parts = np.zeros((PARTS, *shape), np.float32)
    run_blocks(_splat, PARTS, values, _matrix(matrix), field, displaced, planes, parts, block=1)
    return np.asarray(parts.sum(axis=0, dtype=np.float32))
