"""Planes of an image for display: voxel axes turned to the nearest RAS+ axes, sliced, with sides named."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from regcore.image import Image

Convention = Literal["neurological", "radiological"]
NAMES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, eq=False)
class Canonical:
    """Voxel values whose axes run to the subject's right, front and top as nearly as the voxels allow.

    Parameters
    ----------
    data : array, shape (R, A, S)
        Voxel values, a view where possible.
    spacing : tuple of 3 float
        Voxel size along the turned axes, mm.
    affine : array, shape (4, 4)
        Index of the turned array to world RAS+ mm.
    """

    data: npt.NDArray[Any]
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice ready for ``imshow(origin="lower")``.

    Parameters
    ----------
    values : array, shape (rows, columns)
    name : str
        ``sagittal``, ``coronal`` or ``axial``.
    aspect : float
        Height of a row over width of a column.
    size_mm : tuple of 2 float
        Width and height, mm.
    sides : tuple of 2 str
        Letters of the left and the right edge.
    position_mm : float
        World coordinate of the slice's centre along the axis it cuts.
    """

    values: npt.NDArray[Any]
    name: str
    aspect: float
    size_mm: tuple[float, float]
    sides: tuple[str, str]
    position_mm: float


def canonical(image: Image) -> Canonical:
    """Turn voxel axes to the nearest RAS+ axes by swaps and flips only; no value is interpolated.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> affine = np.array([[0, 0, -2.0, 0], [-1.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1]])
    >>> turned = canonical(Image(np.zeros((5, 6, 7), np.float32), Grid((5, 6, 7), affine)))
    >>> turned.data.shape, turned.spacing
    ((7, 5, 6), (2.0, 1.0, 3.0))
    """
    spacing = image.grid.spacing
    cosines = image.grid.affine[:3, :3] / spacing
    order = max(permutations(range(3)), key=lambda axes: sum(abs(cosines[w, v]) for w, v in enumerate(axes)))
    turned = image.data.transpose(order)
    to_voxel = np.zeros((4, 4))
    to_voxel[3, 3] = 1.0
    for world, voxel in enumerate(order):
        backwards = cosines[world, voxel] < 0
        if backwards:
            turned = np.flip(turned, axis=world)
        to_voxel[voxel, world] = -1.0 if backwards else 1.0
        to_voxel[voxel, 3] = image.grid.shape[voxel] - 1 if backwards else 0.0
    sizes = tuple(float(spacing[voxel]) for voxel in order)
    return Canonical(turned, (sizes[0], sizes[1], sizes[2]), image.grid.affine @ to_voxel)


def foreground_box(image: Image, mask: Image | None = None, margin_mm: float = 6.0) -> list[tuple[int, int]]:
    """Index bounds, lower inclusive and upper exclusive, of what is worth showing along each turned axis.

    Parameters
    ----------
    image : Image
        Gives the foreground where there is no mask: voxels above a tenth of the 99th percentile.
    mask : Image, optional
        On the same voxels; non-zero is foreground.
    margin_mm : float
        Kept around the foreground.
    """
    turned = canonical(image if mask is None else mask)
    magnitude = np.abs(np.nan_to_num(turned.data.astype(np.float32)))
    inside = magnitude > (0.1 * np.percentile(magnitude, 99) if mask is None else 0)
    bounds = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        # a stray bright voxel must not decide the frame
        enough = max(1.0, 0.002 * inside.shape[other[0]] * inside.shape[other[1]])
        found = np.flatnonzero(inside.sum(axis=other) >= enough)
        if found.size == 0:
            bounds.append((0, inside.shape[axis]))
            continue
        margin = round(margin_mm / turned.spacing[axis])
        bounds.append((max(int(found[0]) - margin, 0), min(int(found[-1]) + 1 + margin, inside.shape[axis])))
    return bounds


def planes(
    image: Image,
    box: list[tuple[int, int]] | None = None,
    convention: Convention = "neurological",
    centre: tuple[int, int, int] | None = None,
) -> list[Plane]:
    """Axial, coronal and sagittal slice through the middle of a box; a single plane for a 2D image.

    Parameters
    ----------
    image : Image
        Any orientation, oblique or anisotropic.
    box : list of 3 pairs of int, optional
        As `foreground_box` gives it; the whole image where None.
    convention : {"neurological", "radiological"}
        Whether the subject's left is on the left (neurological) or on the right of the picture.
    centre : tuple of 3 int, optional
        Index of the slices along the turned axes; where None, the middle of the box, a little above it for
        the axial slice.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> shown = planes(Image(np.zeros((5, 6, 7), np.float32), Grid((5, 6, 7), np.eye(4))))
    >>> [(plane.name, plane.values.shape, plane.sides) for plane in shown]
    [('axial', (6, 5), ('L', 'R')), ('coronal', (7, 5), ('L', 'R')), ('sagittal', (7, 6), ('P', 'A'))]
    """
    turned = canonical(image)
    bounds = box or [(0, n) for n in turned.data.shape]
    # a head pictured with its neck has its brain above the middle
    share = (0.5, 0.5, 0.6)
    middle = centre or tuple(
        int(lower + part * (upper - 1 - lower)) for part, (lower, upper) in zip(share, bounds, strict=True)
    )
    cropped = turned.data[tuple(slice(*pair) for pair in bounds)]
    flat = [axis for axis in range(3) if turned.data.shape[axis] == 1]
    shown = []
    for axis in flat[:1] or (2, 1, 0):
        across, upward = [a for a in range(3) if a != axis]
        values = np.take(cropped, middle[axis] - bounds[axis][0], axis=axis).T
        sides = ("P", "A") if across == 1 else ("L", "R")
        if across == 0 and convention == "radiological":
            values, sides = values[:, ::-1], ("R", "L")
        width, height = turned.spacing[across], turned.spacing[upward]
        index = np.array([(lower + upper - 1) / 2 for lower, upper in bounds] + [1.0])
        index[axis] = middle[axis]
        shown.append(
            Plane(
                values=values,
                name=NAMES[axis],
                aspect=height / width,
                size_mm=(values.shape[1] * width, values.shape[0] * height),
                sides=sides,
                position_mm=float((turned.affine @ index)[axis]),
            )
        )
    return shown
