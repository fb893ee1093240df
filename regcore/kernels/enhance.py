"""Threshold-free cluster enhancement (TFCE) of maps, exactly, from the tree of their level sets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.parallel import kernel, run_blocks

FACES = 6


@kernel
def _enhance(start, stop, values, order, neighbours, out):  # type: ignore[no-untyped-def]
    """Enhance what is above 0 in rows of `values`; `order` sorts each row, smallest first."""
    points = values.shape[1]
    parent, root = np.empty(points, np.int32), np.empty(points, np.int32)
    extent = np.empty(points, np.int32)
    third = 1.0 / 3.0
    for row in range(start, stop):
        parent[:] = -1
        # from the peaks down: every point joins the components beside it, and becomes the node of their union
        lowest = points
        for place in range(points - 1, -1, -1):
            here = order[row, place]
            if not values[row, here] > 0:
                break
            lowest = place
            parent[here], root[here], extent[here] = here, here, 1
            for face in range(FACES):
                there = neighbours[here, face]
                if there < 0 or parent[there] < 0:
                    continue
                top = there
                while root[top] != top:
                    root[top] = root[root[top]]
                    top = root[top]
                if top != here:
                    root[top], parent[top] = here, here
                    extent[here] += extent[top]
        # from the bottom up: a node adds what its component gathers between its parent's height and its own
        for point in range(points):
            out[row, point] = 0
        for place in range(lowest, points):
            here = order[row, place]
            below, height = 0.0, float(values[row, here])
            base = 0.0
            if parent[here] != here:
                below, base = float(values[row, parent[here]]), float(out[row, parent[here]])
            out[row, here] = base + np.sqrt(extent[here]) * (height**3 - below**3) * third


def face_neighbours(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Places of the six neighbours of every voxel of a mask among the voxels of the mask, -1 where none.

    Parameters
    ----------
    inside : bool array, shape (X, Y, Z)

    Returns
    -------
    int32 array, shape (voxels, 6)

    Examples
    --------
    >>> face_neighbours(np.ones((2, 1, 1), bool)).tolist()
    [[-1, 1, -1, -1, -1, -1], [0, -1, -1, -1, -1, -1]]
    """
    places = np.full(tuple(size + 2 for size in inside.shape), -1, np.int32)
    middle = (slice(1, -1),) * 3
    places[middle][inside] = np.arange(np.count_nonzero(inside), dtype=np.int32)
    found = []
    for axis in range(3):
        for step in (1, -1):
            found.append(np.roll(places, step, axis=axis)[middle][inside])
    return np.stack(found, axis=1)


def enhance(values: npt.NDArray[np.float32], neighbours: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Enhance maps: at every point the integral over heights h of ``extent(h)**0.5 * h**2``.

    ``extent(h)`` is how many points the component around the point has among those at least h high. What is
    below 0 is enhanced apart, and keeps its sign. The integral is exact, where other programs add up steps:
    the extents change only at the values themselves, along the tree of level sets.

    Parameters
    ----------
    values : float32 array, shape (maps, points)
    neighbours : int32 array, shape (points, 6)
        As `face_neighbours` makes it.

    Returns
    -------
    float32 array, shape (maps, points)

    References
    ----------
    Smith, S. M. and Nichols, T. E. (2009), doi:10.1016/j.neuroimage.2008.03.061.

    Examples
    --------
    >>> row = face_neighbours(np.ones((3, 1, 1), bool))
    >>> enhance(np.array([[3.0, 0.0, -3.0]], np.float32), row).tolist()
    [[9.0, 0.0, -9.0]]
    """
    values = np.ascontiguousarray(values, np.float32)
    order = np.argsort(values, axis=1, kind="stable").astype(np.int32)
    above, below = np.empty_like(values), np.empty_like(values)
    run_blocks(_enhance, len(values), values, order, neighbours, above, block=1)
    run_blocks(
        _enhance, len(values), -values, np.ascontiguousarray(order[:, ::-1]), neighbours, below, block=1
    )
    above -= below
    return above
