"""How well two label maps agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from regcore.errors import InputError
from regcore.image import Image

if TYPE_CHECKING:
    import pandas


def dice(first: Image, second: Image) -> dict[int, float]:
    """Dice overlap of every label above 0 that either map holds.

    Parameters
    ----------
    first, second : Image
        Integer labels on one grid.

    Returns
    -------
    dict of int to float
        Twice the common voxels over the sum of both, 0 to 1, in the order of the labels.

    Raises
    ------
    InputError
        If the grids differ, or labels are not integers.

    References
    ----------
    Dice, L. R. (1945), doi:10.2307/1932409.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((4, 1, 1), np.eye(4))
    >>> left = Image(np.array([1, 1, 2, 0], np.int32).reshape(4, 1, 1), grid)
    >>> right = Image(np.array([1, 2, 2, 0], np.int32).reshape(4, 1, 1), grid)
    >>> dice(left, right)
    {1: 0.6666666666666666, 2: 0.6666666666666666}
    """
    _check(first, second)
    labels = _labels(first, second)
    # ranks instead of labels: a map may hold a few labels in the tens of thousands
    ranks = [np.searchsorted(labels, image.data.ravel()) for image in (first, second)]
    known = [image.data.ravel() > 0 for image in (first, second)]
    sizes = [
        np.bincount(rank[inside], minlength=len(labels)) for rank, inside in zip(ranks, known, strict=True)
    ]
    common = np.bincount(
        ranks[0][known[0] & (first.data.ravel() == second.data.ravel())], minlength=len(labels)
    )
    return {
        int(label): float(2 * common[rank] / (sizes[0][rank] + sizes[1][rank]))
        for rank, label in enumerate(labels)
    }


def surface_distances(first: Image, second: Image) -> dict[int, tuple[float, float]]:
    """Mean and 95th percentile of the distances between the surfaces of every label above 0.

    Distances run both ways, from each surface voxel of one map to the nearest surface voxel of the other;
    surface voxels are those with a face neighbour outside the label.

    Parameters
    ----------
    first, second : Image
        Integer labels on one grid.

    Returns
    -------
    dict of int to (float, float)
        Mean distance and 95th percentile (Hausdorff 95), mm; both NaN where only one map holds the label.

    Raises
    ------
    InputError
        If the grids differ, or labels are not integers.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((8, 8, 8), np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> one, other = np.zeros((8, 8, 8), np.int32), np.zeros((8, 8, 8), np.int32)
    >>> one[2], other[3] = 1, 1
    >>> surface_distances(Image(one, grid), Image(other, grid))
    {1: (2.0, 2.0)}
    """
    _check(first, second)
    spacing = first.grid.spacing
    result: dict[int, tuple[float, float]] = {}
    labels = _labels(first, second)
    ranked = [
        np.where(image.data > 0, np.searchsorted(labels, image.data) + 1, 0) for image in (first, second)
    ]
    boxes = [ndimage.find_objects(ranks, max_label=len(labels)) for ranks in ranked]
    for rank, label in enumerate(labels):
        mine, theirs = boxes[0][rank], boxes[1][rank]
        if mine is None or theirs is None:
            result[int(label)] = (float("nan"), float("nan"))
            continue
        box = tuple(
            slice(max(min(a.start, b.start) - 1, 0), max(a.stop, b.stop) + 1)
            for a, b in zip(mine, theirs, strict=True)
        )
        surfaces = [_surface(ranks[box] == rank + 1) for ranks in ranked]
        there = ndimage.distance_transform_edt(~surfaces[1], sampling=spacing)[surfaces[0]]
        back = ndimage.distance_transform_edt(~surfaces[0], sampling=spacing)[surfaces[1]]
        both = np.concatenate([there, back])
        result[int(label)] = (float(both.mean()), float(np.percentile(both, 95)))
    return result


def overlap_table(first: Image, second: Image, names: Mapping[int, str] | None = None) -> pandas.DataFrame:
    """Overlap of two label maps, a row a label.

    Parameters
    ----------
    first, second : Image
        Integer labels on one grid: what is judged, and the reference.
    names : mapping of int to str, optional
        Name of each label; labels without one are called ``label-<number>``.

    Returns
    -------
    DataFrame
        ``label, structure, dice, surface_distance_mm, hausdorff95_mm, volume_mm3, reference_volume_mm3``.

    Raises
    ------
    InputError
        If the grids differ, or labels are not integers.
    """
    import pandas

    overlaps, distances = dice(first, second), surface_distances(first, second)
    volume = first.grid.voxel_volume
    rows = [
        {
            "label": label,
            "structure": (names or {}).get(label, f"label-{label}"),
            "dice": overlap,
            "surface_distance_mm": distances[label][0],
            "hausdorff95_mm": distances[label][1],
        }
        for label, overlap in overlaps.items()
    ]
    columns = ["label", "structure", "dice", "surface_distance_mm", "hausdorff95_mm"]
    table = pandas.DataFrame(rows, columns=columns)
    for column, image in (("volume_mm3", first), ("reference_volume_mm3", second)):
        found, counts = np.unique(image.data[image.data > 0], return_counts=True)
        sizes = dict(zip(found.tolist(), counts.tolist(), strict=True))
        table[column] = [sizes.get(label, 0) * volume for label in overlaps]
    return table


def structures_of(labels: Iterable[Image]) -> list[int]:
    """Labels above 0 that any of several maps holds, in order.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> structures_of([Image(np.array([0, 4, 2], np.int32).reshape(3, 1, 1), Grid((3, 1, 1), np.eye(4)))])
    [2, 4]
    """
    return sorted({int(value) for image in labels for value in np.unique(image.data[image.data > 0])})


def _check(first: Image, second: Image) -> None:
    if not first.grid.matches(second.grid):
        found = [
            f"{image.grid.shape} from {image.grid.affine[:3, 3].round(2)} mm" for image in (first, second)
        ]
        raise InputError(f"labels: expected one grid, found {found[0]} and {found[1]}")
    for image in (first, second):
        if image.data.dtype.kind not in "iub":
            raise InputError(f"labels: expected integers, found {image.data.dtype}")


def _labels(first: Image, second: Image) -> npt.NDArray[np.int64]:
    return np.array(structures_of((first, second)), dtype=np.int64)


def _surface(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    # the edge of the image is no surface, and a singleton axis has no neighbours
    return np.asarray(inside & ~ndimage.binary_erosion(inside, border_value=1))
