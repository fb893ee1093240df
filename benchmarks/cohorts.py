"""Cohorts of any size: blobs, for the cost of the workflow itself, and real hippocampi."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.data import hippocampi
from regcore.image import Image
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import write_text
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Displacement

SIDE = 16
WARP_VOX, WARP_SIGMA_VOX = 1.0, 5.0
"""Root mean square of the known warps along an axis, and how smooth they are, voxels."""


def blobs(folder: Path, count: int, different: int = 8) -> Path:
    """Table of `count` subjects, who share a few images of 16 voxels a side by links.

    Parameters
    ----------
    folder : Path
        Gets images, links and ``cohort.tsv``; what is there stays.
    count : int
    different : int
        How many images there are.

    Returns
    -------
    Path
        The table.
    """
    table = folder / "cohort.tsv"
    if table.exists():
        return table
    grid = Grid((SIDE, SIDE, SIDE), np.diag([2.0, 2.0, 2.0, 1.0]))
    points = np.mgrid[:SIDE, :SIDE, :SIDE].astype(np.float32)
    for number in range(different):
        random = np.random.default_rng([16, number])
        centre, radius = 7.5 + random.uniform(-1, 1, 3), 5 + random.uniform(-0.5, 0.5, 3)
        distance = (((points - centre[:, None, None, None]) / radius[:, None, None, None]) ** 2).sum(axis=0)
        image = 400 * (distance < 1) + 300 * (distance < 0.4) + random.normal(0, 10, grid.shape)
        write_image(folder / f"blob-{number}.nii.gz", Image(image.astype(np.float32), grid))
    rows = []
    for number in range(count):
        name = f"{number:05d}"
        link = folder / f"{name}.nii.gz"
        if not link.is_symlink():
            link.symlink_to(f"blob-{number % different}.nii.gz")
        rows.append(f"sub-{name}\t{link.name}\t{20 + number % 60}")
    write_text(table, "participant_id\timage\tage\n" + "\n".join(rows) + "\n")
    return table


def warped_hippocampi(folder: Path, count: int) -> Path:
    """Table of `count` subjects: real hippocampi, then the same under flips and small known warps.

    Subject i is crop ``i mod 40``; from the second round on it is warped by a smooth displacement, drawn
    from a generator whose seed is its number, and every other round is flipped left to right.

    Parameters
    ----------
    folder : Path
        Gets the images and ``cohort.tsv``; images that are there stay.
    count : int

    Returns
    -------
    Path
        The table.
    """
    crops, table = hippocampi(), folder / "cohort.tsv"
    rows = ["participant_id\timage\tlabels\tage"]
    for number in range(count):
        turn, crop = divmod(number, len(crops))
        name = f"{number:04d}"
        image, labels = folder / f"{name}.nii.gz", folder / f"{name}_dseg.nii.gz"
        if not (image.exists() and labels.exists()):
            source = crops[crop]
            pair = read_image(source.image), read_labels(source.labels)
            warped = [_varied(each, turn, number, kind) for each, kind in zip(pair, KINDS, strict=True)]
            write_image(labels, warped[1], dtype="uint8")
            write_image(image, warped[0])
        rows.append(f"sub-{name}\t{image.name}\t{labels.name}\t{20 + number % 60}")
    write_text(table, "\n".join(rows) + "\n")
    return table


KINDS = ("linear", "label")


def _varied(image: Image, turn: int, seed: int, interpolation: str) -> Image:
    data = image.data[::-1] if turn % 2 else image.data
    flipped = Image(np.ascontiguousarray(data), image.grid)
    if turn == 0:
        return flipped
    warp = Displacement(_small_warp(image.grid, seed), image.grid)
    return resample(flipped, image.grid, warp, interpolation)


def _small_warp(grid: Grid, seed: int) -> npt.NDArray[np.float32]:
    """Smooth random displacement, shape (X, Y, Z, 3), voxels."""
    noise = np.random.default_rng([40, seed]).standard_normal((*grid.shape, 3))
    smooth = ndimage.gaussian_filter(noise, (*[WARP_SIGMA_VOX] * 3, 0))
    return (smooth * (WARP_VOX / smooth.std())).astype(np.float32)
