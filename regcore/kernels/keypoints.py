"""Loops behind keypoints: extrema among three scales, histograms of gradients, nearest descriptors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.kernels.compose import read_vector
from regcore.kernels.layout import components
from regcore.kernels.parallel import kernel, run_blocks

Float32 = npt.NDArray[np.float32]

POINTS_PER_BLOCK = 64
CHUNK = 64
# further than any descriptor: fast arithmetic knows no infinity
NOTHING = np.float32(1e30)


@kernel
def _extrema(start, stop, below, here, above, least, found):  # type: ignore[no-untyped-def]
    nx, ny, nz = here.shape
    for x in range(start, stop):
        for y in range(ny):
            for z in range(nz):
                value = here[x, y, z]
                found[x, y, z] = 0
                inner = (nx == 1 or 0 < x < nx - 1) and (ny == 1 or 0 < y < ny - 1)
                if not (inner and (nz == 1 or 0 < z < nz - 1)) or abs(value) < least:
                    continue
                sign = np.float32(1) if value > 0 else np.float32(-1)
                height = sign * value
                beaten = False
                for i in range(max(x - 1, 0), min(x + 2, nx)):
                    for j in range(max(y - 1, 0), min(y + 2, ny)):
                        for k in range(max(z - 1, 0), min(z + 2, nz)):
                            # of equals the last one stays, so that a blob between two voxels is not lost
                            later = i > x or (i == x and (j > y or (j == y and k > z)))
                            other = sign * here[i, j, k]
                            beaten = beaten or (
                                sign * below[i, j, k] > height
                                or sign * above[i, j, k] >= height
                                or other > height
                                or (later and other == height)
                            )
                        if beaten:
                            break
                    if beaten:
                        break
                if not beaten:
                    found[x, y, z] = 1


def extrema(below: Float32, here: Float32, above: Float32, least: float) -> npt.NDArray[np.uint8]:
    """Voxels that stick out, up or down, among their neighbours in space and at the scales beside them.

    Parameters
    ----------
    below, here, above : float32 array, shape (X, Y, Z)
        Responses at three neighbouring scales.
    least : float
        Smallest absolute response.

    Returns
    -------
    uint8 array, shape (X, Y, Z)
        1 where the positive response of `here` is larger than all its 26 neighbours and the 54 voxels of the
        other scales, or the negative one smaller; of equal neighbours the last one counts. Never at the
        outermost voxels, but a singleton axis counts as inside.

    Examples
    --------
    >>> bump = np.zeros((5, 5, 1), np.float32)
    >>> bump[2, 3] = 1
    >>> np.argwhere(extrema(bump * 0, bump, bump * 0, 0.5)).tolist()
    [[2, 3, 0]]
    """
    found = np.empty(here.shape, np.uint8)
    below, here, above = (np.ascontiguousarray(a, np.float32) for a in (below, here, above))
    run_blocks(_extrema, here.shape[0], below, here, above, np.float32(least), found)
    return found


@kernel
def _histograms(start, stop, gradient, origins, steps, offsets, cells, weights, directions, out):  # type: ignore[no-untyped-def]
    axes, corners = directions.shape[1], cells.shape[1]
    local = np.empty(axes, np.float32)
    for n in range(start, stop):
        for p in range(offsets.shape[0]):
            qx, qy, qz = origins[n, 0], origins[n, 1], origins[n, 2]
            for a in range(axes):
                qx += steps[n, 0, a] * offsets[p, a]
                qy += steps[n, 1, a] * offsets[p, a]
                qz += steps[n, 2, a] * offsets[p, a]
            gx, gy, gz = read_vector(gradient, qx, qy, qz)
            for a in range(axes):
                local[a] = steps[n, 0, a] * gx + steps[n, 1, a] * gy + steps[n, 2, a] * gz
            for k in range(directions.shape[0]):
                along = np.float32(0)
                for a in range(axes):
                    along += directions[k, a] * local[a]
                if along > 0:
                    for c in range(corners):
                        out[n, cells[p, c], k] += weights[p, c] * along


def gradient_histograms(
    gradient: Float32,
    origins: npt.ArrayLike,
    steps: npt.ArrayLike,
    offsets: npt.ArrayLike,
    cells: npt.NDArray[np.int32],
    weights: npt.ArrayLike,
    directions: npt.ArrayLike,
) -> Float32:
    """Sums of the gradient along some directions, over cells of a pattern laid around every point.

    Parameters
    ----------
    gradient : float32 array, shape (X, Y, Z, 3)
        Gradient of an image per voxel; beyond its edge the nearest voxel counts.
    origins : array, shape (N, 3)
        Points, voxels.
    steps : array, shape (N, 3, D)
        Voxels that a unit of each of the pattern's axes spans; gradients are taken along them too.
    offsets : array, shape (P, D)
        Samples of the pattern.
    cells : int32 array, shape (P, C)
        Cells that a sample counts for.
    weights : array, shape (P, C)
        How much it counts for each.
    directions : array, shape (K, D)
        Unit vectors in the pattern's axes.

    Returns
    -------
    float32 array, shape (N, cells, K)
        Only what points along a direction counts, not against it.

    Examples
    --------
    >>> slope = np.zeros((3, 3, 3, 3), np.float32)
    >>> slope[..., 0] = 2
    >>> one = np.ones((1, 1))
    >>> gradient_histograms(
    ...     slope, [[1, 1, 1]], np.eye(3)[None], np.zeros((1, 3)), np.zeros((1, 1), np.int32), one,
    ...     [[1, 0, 0], [-1, 0, 0]],
    ... )
    array([[[2., 0.]]], dtype=float32)
    """
    origins, steps, offsets, weights, directions = (
        np.ascontiguousarray(a, np.float32) for a in (origins, steps, offsets, weights, directions)
    )
    out = np.zeros((len(origins), int(cells.max()) + 1, len(directions)), np.float32)
    arrays = (components(gradient), origins, steps, offsets)
    cells = np.ascontiguousarray(cells, np.int32)
    run_blocks(_histograms, len(origins), *arrays, cells, weights, directions, out, block=POINTS_PER_BLOCK)
    return out


@kernel
def _two_nearest(start, stop, queries, targets, expected, points, reach, nearest, squared):  # type: ignore[no-untyped-def]
    size = queries.shape[1]
    for n in range(start, stop):
        first = second = NOTHING
        winner = -1
        for m in range(targets.shape[0]):
            dx = expected[n, 0] - points[m, 0]
            dy = expected[n, 1] - points[m, 1]
            dz = expected[n, 2] - points[m, 2]
            if dx * dx + dy * dy + dz * dz > reach * reach:
                continue
            total = np.float32(0)
            for begin in range(0, size, CHUNK):
                for d in range(begin, min(begin + CHUNK, size)):
                    difference = queries[n, d] - targets[m, d]
                    total += difference * difference
                # already further than the second best: the rest cannot bring it back
                if total >= second:
                    break
            if total < first:
                second, first, winner = first, total, m
            elif total < second:
                second = total
        nearest[n] = winner
        squared[n, 0], squared[n, 1] = first, second


def two_nearest(
    queries: Float32,
    targets: Float32,
    expected: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    reach_mm: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Nearest target of every query by descriptor, among the targets that lie near where it is expected.

    All are compared: in hundreds of dimensions a search tree visits nearly everything as well, and slowly.

    Parameters
    ----------
    queries : float32 array, shape (N, D)
    targets : float32 array, shape (M, D)
    expected : array, shape (N, 3)
        Where each query is expected among the targets, mm.
    points : array, shape (M, 3)
        Where the targets are, mm.
    reach_mm : float
        Largest distance between the two; may be infinite.

    Returns
    -------
    nearest : int64 array, shape (N,)
        The first of equally near ones; -1 where no target is within reach.
    distances : array, shape (N, 2)
        To the nearest and the second nearest; infinite where there is none.

    Examples
    --------
    >>> targets, origin = np.array([[1.0, 0], [0, 1], [0, 3]], np.float32), np.zeros((3, 3))
    >>> nearest, distances = two_nearest(np.eye(2, dtype=np.float32), targets, origin[:2], origin, np.inf)
    >>> nearest, distances[1].round(3)
    (array([0, 1]), array([0.   , 1.414]))
    """
    nearest, squared = np.empty(len(queries), np.int64), np.empty((len(queries), 2), np.float32)
    queries, targets = np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(targets, np.float32)
    reach = min(float(reach_mm), 1e150)
    places = (np.ascontiguousarray(expected, np.float64), np.ascontiguousarray(points, np.float64))
    run_blocks(
        _two_nearest, len(queries), queries, targets, *places, reach, nearest, squared, block=POINTS_PER_BLOCK
    )
    distances = np.sqrt(squared.astype(np.float64))
    distances[squared >= NOTHING] = np.inf
    return nearest, distances
