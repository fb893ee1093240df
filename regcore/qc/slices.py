"""Sheets of slices: what the report's viewer steps and flickers through, one small picture an image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from PIL import Image as Picture

from regcore.image import Image
from regcore.qc.figures import MASK_OUTLINE, OUTLINE, otsu_levels, window
from regcore.qc.planes import Convention, Plane, canonical, foreground_box, planes

SLICES = 15
CELL_PX = 208
CELL_2D_PX = 512
QUALITY = 68


@dataclass(frozen=True)
class Sheet:
    """Where the slices lie in the sheets of a study: a row a plane, a column a slice, square cells.

    Parameters
    ----------
    box : list of 3 pairs of int
        Voxels that are shown, along the turned axes (see `planes.canonical`).
    centres : sequence of (int, int, int)
        Index of the slices of every column.
    cell_px : int
        Side of a cell.
    names, sides : list
        Name and edge letters of the plane of every row.
    positions_mm : list of list of float
        World coordinate of every slice, a list a row.
    convention : {"neurological", "radiological"}
    """

    box: list[tuple[int, int]]
    centres: Sequence[tuple[int, int, int]]
    cell_px: int
    names: list[str]
    sides: list[tuple[str, str]]
    positions_mm: list[list[float]]
    convention: Convention


def sheet_of(template: Image, mask: Image | None = None, convention: Convention = "neurological") -> Sheet:
    """Slices through the foreground of a template, evenly spaced, leaving out a tenth at either end.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> sheet = sheet_of(Image(np.ones((30, 30, 30), np.float32), Grid((30, 30, 30), np.eye(4))))
    >>> sheet.names, len(sheet.centres)
    (['axial', 'coronal', 'sagittal'], 15)
    """
    box = foreground_box(template, mask)
    single = 1 in canonical(template).data.shape
    shares = [0.5] if single else np.linspace(0.1, 0.9, SLICES)
    centres = [(_at(box[0], share), _at(box[1], share), _at(box[2], share)) for share in shares]
    shown = [planes(template, box, convention, centre) for centre in centres]
    return Sheet(
        box,
        centres,
        CELL_2D_PX if single else CELL_PX,
        [plane.name for plane in shown[0]],
        [plane.sides for plane in shown[0]],
        [[round(column[row].position_mm, 1) for column in shown] for row in range(len(shown[0]))],
        convention,
    )


def _at(bounds: tuple[int, int], share: float) -> int:
    return bounds[0] + round(share * (bounds[1] - 1 - bounds[0]))


def slice_sheet(image: Image, sheet: Sheet, quality: int = QUALITY) -> bytes:
    """All slices of an image in grey, as WebP.

    Parameters
    ----------
    image : Image
        On the grid of the template.
    sheet : Sheet
    quality : int
        Of the compression, 0 to 100.
    """
    low, high = window(image)
    data = np.nan_to_num(image.data.astype(np.float32), nan=low, posinf=high, neginf=low)
    grey = np.clip((data - low) / (high - low), 0, 1) * 255
    cells = _cells(Image(grey.astype(np.uint8), image.grid), sheet, sheet.cell_px)
    return _webp(Picture.fromarray(_tiled(cells)), quality)


def outline_sheet(template: Image, sheet: Sheet, mask: Image | None = None) -> bytes:
    """Outlines of the template's tissue (amber) and mask (blue) on nothing, at twice the size, as PNG."""
    size = 2 * sheet.cell_px
    inside = template.data if mask is None else template.data[mask.data > 0]
    low, high = window(template)
    scaled = np.clip((np.nan_to_num(template.data) - low) / (high - low), 0, 1) * 255
    cells = _tiled(_cells(Image(scaled.astype(np.float32), template.grid), sheet, size))
    drawn = np.zeros(cells.shape, np.uint8)
    for level in otsu_levels(np.asarray(inside, np.float32).ravel()) or ():
        drawn[_border(cells > (level - low) / (high - low) * 255)] = 1
    if mask is not None:
        marked = Image((mask.data > 0).astype(np.float32) * 255, mask.grid)
        drawn[_border(_tiled(_cells(marked, sheet, size)) > 127)] = 2
    picture = Picture.fromarray(drawn, mode="P")
    colours = [(0.0, 0.0, 0.0), to_rgb(OUTLINE), to_rgb(MASK_OUTLINE)]
    picture.putpalette([round(255 * part) for colour in colours for part in colour])
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True, transparency=0)
    return stream.getvalue()


def smaller(sheet: bytes, share: float) -> bytes:
    """A sheet with sides of `share` of its own, for cohorts so large that the page would be heavy."""
    with Picture.open(io.BytesIO(sheet)) as picture:
        size = (max(round(picture.width * share), 1), max(round(picture.height * share), 1))
        return _webp(picture.convert("L").resize(size, Picture.Resampling.BOX), QUALITY)


def _webp(picture: Picture.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="WEBP", quality=quality, method=4)
    return stream.getvalue()


def _cells(image: Image, sheet: Sheet, size: int) -> list[list[npt.NDArray[Any]]]:
    """Cells of all rows, every plane in the middle of its cell, all at one scale."""
    columns = [planes(image, sheet.box, sheet.convention, centre) for centre in sheet.centres]
    longest = max(max(plane.size_mm) for plane in columns[0])
    return [[_cell(column[row], size, longest) for column in columns] for row in range(len(columns[0]))]


def _cell(plane: Plane, size: int, longest_mm: float) -> npt.NDArray[Any]:
    wide, tall = (max(round(size * length / longest_mm), 1) for length in plane.size_mm)
    upright = np.ascontiguousarray(plane.values[::-1])
    resized = Picture.fromarray(upright).resize((wide, tall), Picture.Resampling.BILINEAR)
    cell = np.zeros((size, size), upright.dtype)
    top, left = (size - tall) // 2, (size - wide) // 2
    cell[top : top + tall, left : left + wide] = np.asarray(resized)
    return cell


def _tiled(cells: list[list[npt.NDArray[Any]]]) -> npt.NDArray[Any]:
    return np.concatenate([np.concatenate(row, axis=1) for row in cells], axis=0)


def _border(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Voxels inside that have one outside beside them."""
    edge = np.zeros(inside.shape, bool)
    edge[1:] |= inside[1:] & ~inside[:-1]
    edge[:-1] |= inside[:-1] & ~inside[1:]
    edge[:, 1:] |= inside[:, 1:] & ~inside[:, :-1]
    edge[:, :-1] |= inside[:, :-1] & ~inside[:, 1:]
    return edge
