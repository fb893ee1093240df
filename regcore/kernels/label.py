"""Read a label image between voxels: the label with the largest linear weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import kernel, run_blocks
from regcore.kernels.sample import _field, _matrix, bracket, inside, position

_TIE = np.float32(1e-5)


@kernel
def _label(start, stop, image, matrix, displacement, displaced, warped):  # type: ignore[no-untyped-def]
    nx, ny, nz = image.shape
    one = np.float32(1)
    labels = np.empty(8, image.dtype)
    weights = np.empty(8, np.float32)
    for x in range(start, stop):
        for y in range(warped.shape[1]):
            for z in range(warped.shape[2]):
                qx, qy, qz = position(matrix, displacement, displaced, x, y, z)
                if not (inside(qx, nx) and inside(qy, ny) and inside(qz, nz)):
                    warped[x, y, z] = 0
                    continue
                x0, x1, a = bracket(qx, nx)
                y0, y1, b = bracket(qy, ny)
                z0, z1, c = bracket(qz, nz)
                first = image[x0, y0, z0]
                labels[0], labels[1] = first, image[x0, y0, z1]
                labels[2], labels[3] = image[x0, y1, z0], image[x0, y1, z1]
                labels[4], labels[5] = image[x1, y0, z0], image[x1, y0, z1]
                labels[6], labels[7] = image[x1, y1, z0], image[x1, y1, z1]
                unanimous = True
                for n in range(1, 8):
                    unanimous = unanimous and labels[n] == first
                if unanimous:
                    warped[x, y, z] = first
                    continue
                weights[0] = (one - a) * (one - b) * (one - c)
                weights[1] = (one - a) * (one - b) * c
                weights[2] = (one - a) * b * (one - c)
                weights[3] = (one - a) * b * c
                weights[4] = a * (one - b) * (one - c)
                weights[5] = a * (one - b) * c
                weights[6] = a * b * (one - c)
                weights[7] = a * b * c
                winner = first
                most = np.float32(-1)
                for n in range(8):
                    total = np.float32(0)
                    for m in range(8):
                        if labels[m] == labels[n]:
                            total += weights[m]
                    # a tie goes to the smaller label, whatever the rounding of the sums
                    if total > most + _TIE or (total > most - _TIE and labels[n] < winner):
                        most = total
                        winner = labels[n]
                warped[x, y, z] = winner


def sample_label(
    image: npt.NDArray[Any],
    matrix: npt.ArrayLike,
    displacement: npt.NDArray[np.float32] | None = None,
    shape: tuple[int, ...] | None = None,
) -> npt.NDArray[Any]:
    """Label of largest trilinear weight at ``matrix @ [p + u(p), 1]`` for every output voxel p.

    What linear interpolation of every label's own mask followed by the largest would give, in one pass and
    whatever the number of labels: only eight labels can have any weight at a point.

    Parameters
    ----------
    image : integer array, shape (X, Y, Z)
        Labels of any integer type.
    matrix : array, shape (3 or 4, 4)
        Output voxel to image voxel.
    displacement : float32 array, shape (X', Y', Z', 3), optional
        Output voxels.
    shape : tuple of 3 int, optional
        Output shape, needed where there is no displacement.

    Returns
    -------
    array, shape (X', Y', Z'), type of `image`
        Zero outside the image; the smaller label in a tie.

    Examples
    --------
    >>> labels = np.array([7, 3, 3], np.int16).reshape(3, 1, 1)
    >>> shift = np.eye(4)
    >>> shift[0, 3] = 0.4
    >>> sample_label(labels, shift, shape=(3, 1, 1)).ravel()
    array([7, 3, 3], dtype=int16)
    """
    field, displaced, shape = _field(displacement, shape)
    warped = np.empty(shape, image.dtype)
    image = np.ascontiguousarray(image)
    run_blocks(_label, shape[0], image, _matrix(matrix), field, displaced, warped)
    return warped
