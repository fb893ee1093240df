"""What cannot be registered, said in one line before any work."""

from __future__ import annotations

import numpy as np

from regcore.errors import InputError
from regcore.image import Image
from regcore.registration.linear import mask_weights
from regcore.registration.settings import METRICS
from regcore.registration.similarity import Channel, unit_range
from regcore.space import Array, Grid
from regcore.transforms import Affine


def check_images(
    fixed: Image, moving: Image, fixed_mask: Image | None = None, moving_mask: Image | None = None
) -> None:
    """Refuse images of different dimensions, and masks that are empty or on another grid."""
    if fixed.grid.is_2d != moving.grid.is_2d:
        flat, solid = ("fixed", "moving") if fixed.grid.is_2d else ("moving", "fixed")
        raise InputError(f"images: expected both 2D or both 3D, found a 2D {flat} and a 3D {solid} one")
    for name, image, mask in (("fixed_mask", fixed, fixed_mask), ("moving_mask", moving, moving_mask)):
        if mask is not None and not mask.grid.matches(image.grid):
            raise InputError(f"{name}: expected the grid of its image, found another grid")
        if mask is not None and not mask.data.any():
            raise InputError(f"{name}: expected at least one voxel, found an empty mask")


def check_overlap(
    fixed: Grid, moving: Grid, affine: Affine, fixed_mask: Image | None, moving_mask: Image | None
) -> None:
    """Refuse a map under which the images, or the masks, have nothing in common."""
    onto = moving.inverse_affine @ affine.matrix @ fixed.affine
    if not _boxes_meet(fixed.shape, moving.shape, onto):
        where = [
            " to ".join(f"({', '.join(f'{x:.0f}' for x in edge)})" for edge in (low, high))
            for corners in (affine(fixed.corners()), moving.corners())
            for low, high in [(corners.min(axis=0), corners.max(axis=0))]
        ]
        raise InputError(
            f"images: expected them to overlap in the world, found the fixed one at {where[0]} mm and the "
            f"moving one at {where[1]} mm"
        )
    weights = mask_weights(fixed, affine.matrix, fixed_mask, moving_mask)
    if weights is not None and not weights.any():
        raise InputError("masks: expected them to overlap in the world, found no voxel inside both")


def _boxes_meet(first: tuple[int, ...], second: tuple[int, ...], onto: Array) -> bool:
    """Whether the box of a grid, mapped by a matrix into voxels of another, meets the other's box.

    Two boxes are apart where their shadows on some normal of a face, or on some direction across an edge of
    either, are (the separating axes of Gottschalk et al. 1996, doi:10.1145/237170.237244).
    """
    centre = onto[:3, :3] @ ((np.array(first) - 1) / 2) + onto[:3, 3] - (np.array(second) - 1) / 2
    edges, other = onto[:3, :3] * (np.array(first) / 2), np.diag(np.array(second) / 2)
    across = [np.cross(edges[:, i], other[:, j]) for i in range(3) for j in range(3)]
    faces = [np.cross(box[:, i - 2], box[:, i - 1]) for box in (edges, other) for i in range(3)]
    axes = np.array([*faces, *across])
    reach = np.abs(axes @ edges).sum(axis=1) + np.abs(axes @ other).sum(axis=1)
    return not bool((np.abs(axes @ centre) > reach * (1 + 1e-9)).any())


def checked_channel(key: str, channel: Channel, grid: Grid, fixed_mask: Image | None) -> Channel:
    """A further channel, checked and brought to the range of the metrics."""
    fixed, moving, weight, metric = channel
    if not fixed.grid.matches(grid):
        raise InputError(f"{key}: expected a fixed image on the grid of the first, found another grid")
    check_images(fixed, moving)
    if not 0 < weight < np.inf:
        raise InputError(f"{key}: expected a weight above zero, found {weight!r}")
    if metric is not None and metric not in METRICS:
        raise InputError(f"{key}: expected a measure among {', '.join(METRICS)}, found {metric!r}")
    return Channel(unit_range(fixed, fixed_mask), unit_range(moving), float(weight), metric)
