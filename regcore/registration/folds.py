"""Maps without folds: mended where they fold, and judged together with their inverse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.kernels.compose import composed_lengths
from regcore.kernels.jacobian import jacobian_determinant
from regcore.kernels.layout import from_components
from regcore.kernels.smooth import gaussian_smooth, gaussian_taps

Float32 = npt.NDArray[np.float32]
LEAST_JACOBIAN = 0.01
BLOCK = 16
"""Folds less than about this many voxels apart are mended together."""


def make_diffeomorphic(
    field: Float32, least: float = LEAST_JACOBIAN, most_rounds: int = 50, *, overwrite: bool = False
) -> tuple[Float32, Float32]:
    """Smooth a displacement where, and only where, its Jacobian determinant is too small.

    Parameters
    ----------
    field : float32 array, shape (X, Y, Z, 3)
        Voxels.
    least : float
        Smallest determinant accepted.
    most_rounds : int
    overwrite : bool
        Whether `field` itself may be mended; a copy is otherwise.

    Returns
    -------
    field : float32 array, shape (X, Y, Z, 3)
        The argument itself if there is nothing to mend.
    determinant : float32 array, shape (X, Y, Z)
        Its Jacobian determinant.

    Raises
    ------
    InputError
        If folds remain after `most_rounds`.
    """
    determinant = jacobian_determinant(field)
    for number in range(most_rounds):
        bad = determinant < least
        if not bad.any():
            return field, determinant
        if not overwrite:
            field, overwrite = from_components(np.moveaxis(field, -1, 0).copy()), True
        # folds that stay are smoothed more, over more of their surroundings, every round
        reach = 1.0 + 0.1 * number
        # so wide that nothing changes at the edge of a box
        margin = len(gaussian_taps(1.5 * reach)) // 2 + len(gaussian_taps(reach)) // 2 + 2
        for box in _boxes(bad, margin):
            part = field[box]
            smooth = gaussian_smooth(part, reach)
            near = gaussian_smooth(bad[box].astype(np.float32), 1.5 * reach)
            part += np.minimum(near * 8 * reach**3, 1)[..., None] * (smooth - part)
            inner = tuple(
                slice(int(side.start > 0), side.stop - side.start - int(side.stop < n))
                for side, n in zip(box, bad.shape, strict=True)
            )
            determinant[box][inner] = jacobian_determinant(part)[inner]
    raise InputError("registration: expected a map without folds, found folds that smoothing does not remove")


def _boxes(bad: npt.NDArray[np.bool_], margin: int) -> list[tuple[slice, slice, slice]]:
    """Boxes around what is true, one for all that lies together, with a margin inside the array."""
    found = np.argwhere(bad)
    group = _clusters(found // BLOCK)
    count = int(group.max()) + 1
    lower, upper = np.full((count, 3), np.iinfo(np.int64).max), np.zeros((count, 3), np.int64)
    np.minimum.at(lower, group, found)
    np.maximum.at(upper, group, found + 1)
    lower, upper = np.maximum(lower - margin, 0), np.minimum(upper + margin, bad.shape)
    boxes = np.stack([lower, upper], axis=-1)
    return [(slice(*box[0]), slice(*box[1]), slice(*box[2])) for box in boxes.tolist()]


def _clusters(blocks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of the cluster that each of (n, 3) blocks belongs to; blocks that touch are of one.

    There are few blocks, and importing SciPy to label them takes longer than registering a small image.
    """
    neighbours = list(itertools.product((-1, 0, 1), repeat=3))
    distinct, where = np.unique(blocks, axis=0, return_inverse=True)
    left = {(x, y, z): number for number, (x, y, z) in enumerate(distinct.tolist())}
    cluster = np.zeros(len(distinct), np.int64)
    count = 0
    while left:
        reached = [next(iter(left))]
        cluster[left.pop(reached[0])] = count
        while reached:
            x, y, z = reached.pop()
            for dx, dy, dz in neighbours:
                near = (x + dx, y + dy, z + dz)
                if near in left:
                    cluster[left.pop(near)] = count
                    reached.append(near)
        count += 1
    return cluster[where.ravel()]


def consistency(
    field: Float32, inverse: Float32, determinant: Float32, inverse_determinant: Float32
) -> dict[str, Any]:
    """How good a displacement and its inverse are: folds, and where there and back leads.

    Parameters
    ----------
    field, inverse : float32 array, shape (X, Y, Z, 3)
        Voxels of one grid.
    determinant, inverse_determinant : float32 array, shape (X, Y, Z)
        Jacobian determinants of both.

    Returns
    -------
    dict
        folded_voxels and minimum_jacobian of both; inverse_consistency_mean_vox and
        inverse_consistency_max_vox without a margin of a tenth of each side.
    """
    margin = [n // 10 for n in field.shape[:3]]
    mean, longest = composed_lengths(field, inverse, margin)
    return {
        "folded_voxels": int((determinant <= 0).sum()) + int((inverse_determinant <= 0).sum()),
        "minimum_jacobian": float(min(determinant.min(), inverse_determinant.min())),
        "inverse_consistency_mean_vox": mean,
        "inverse_consistency_max_vox": longest,
    }
