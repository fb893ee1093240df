"""Real anatomy for the demo cohort: the ICBM 2009a head and regions cut from its tissue maps."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.nifti import read_image
from regcore.space import Grid

Float32 = npt.NDArray[np.float32]

MAP_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"

STRUCTURES = {
    1: "Ventricles and deep CSF",
    2: "Outer CSF",
    3: "Left cerebral white matter",
    4: "Right cerebral white matter",
    5: "Left deep grey matter",
    6: "Right deep grey matter",
    7: "Left frontal cortex",
    8: "Right frontal cortex",
    9: "Left parietal cortex",
    10: "Right parietal cortex",
    11: "Left temporal cortex",
    12: "Right temporal cortex",
    13: "Left occipital cortex",
    14: "Right occipital cortex",
    15: "Left cerebellar grey matter",
    16: "Right cerebellar grey matter",
    17: "Brainstem and cerebellar white matter",
}
"""Label value and name; cortex is divided by planes, not by gyri."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The ICBM head at 1 mm.

    Parameters
    ----------
    t1 : float32 array, shape (X, Y, Z)
        In [0, 1], zero outside the brain.
    grey, white : float32 array, shape (X, Y, Z)
        Share of the voxel that is grey and white matter.
    labels : uint8 array, shape (X, Y, Z)
        Keys of `STRUCTURES`, zero outside the brain.
    grid : Grid
        MNI world.
    """

    t1: Float32
    grey: Float32
    white: Float32
    labels: npt.NDArray[np.uint8]
    grid: Grid


def read_map(tissue: str) -> Image:
    """One of the ICBM 2009a maps at 1 mm from nilearn's package data; nothing is downloaded.

    Parameters
    ----------
    tissue : {"t1", "gm", "wm"}

    Raises
    ------
    InputError
        If nilearn is not installed.

    References
    ----------
    Fonov et al., NeuroImage 54, 2011, doi:10.1016/j.neuroimage.2010.07.033
    """
    # importing nilearn would take longer than reading its files
    found = find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        raise InputError("nilearn: expected for the demo, found none; pip install 'regcore[demo]'")
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    image = read_image(folder / MAP_FILE.format(tissue))
    return Image(np.asarray(image.data / image.data.max(), np.float32), image.grid)


def load_anatomy() -> Anatomy:
    """The head and what is cut from its tissue maps (see `read_map`)."""
    maps = [read_map(tissue) for tissue in ("t1", "gm", "wm")]
    t1, grey, white = (image.data for image in maps)
    grid = maps[0].grid
    # the images made from it have 2 mm voxels
    smoothed = [ndimage.gaussian_filter(channel, 0.7, truncate=3) for channel in (t1, grey, white)]
    return Anatomy(smoothed[0], smoothed[1], smoothed[2], cut_regions(t1, grey, white, grid), grid)


def cut_regions(t1: Float32, grey: Float32, white: Float32, grid: Grid) -> npt.NDArray[np.uint8]:
    """Labels of `STRUCTURES` from tissue maps and planes in MNI space, shape (X, Y, Z)."""
    brain = ndimage.binary_fill_holes(t1 > 0.1)
    # planes and depth need no more than 2 mm
    coarse = ndimage.distance_transform_edt(brain[::2, ::2, ::2]).astype(np.float32) * 2
    depth = np.kron(coarse, np.ones((2, 2, 2), np.float32))[tuple(slice(n) for n in brain.shape)]
    x, y, z = (
        (grid.affine[axis, axis] * index + grid.affine[axis, 3]).astype(np.float32)
        for axis, index in enumerate(np.ogrid[tuple(slice(n) for n in grid.shape)])
    )
    right = x >= 0
    fluid = 1 - grey - white
    is_fluid = (fluid > grey) & (fluid > white)
    is_grey = ~is_fluid & (grey > white)

    lower_back = (z < -14 + 0.2 * (y + 55)) & (y < -36) & ((np.abs(x) < 54) | (z < -30))
    stem = (np.abs(x) < 19) & (y < -12) & (y > -48) & (z < -10)
    hindbrain = lower_back | stem
    deep = (np.abs(x) < 38) & (y > -36) & (y < 24) & (z > -12) & (z < 22) & (depth > 20)
    occipital = y < -72
    temporal = (z < 2 + 0.25 * np.minimum(-y, 40)) & (np.abs(x) > 18) & (y < 18)
    frontal = (y > -18) & ~temporal

    cortex = np.select([occipital, temporal, frontal], [13, 11, 7], default=9)
    grey_label = np.where(hindbrain, np.where(stem, 17, 15), np.where(deep, 5, cortex))
    grey_label = np.where(grey_label == 17, 17, grey_label + right)
    white_label = np.where(hindbrain, 17, np.where(right, 4, 3))
    fluid_label = np.where((depth > 22) & (np.abs(x) < 42) & ~hindbrain, 1, 2)
    labels = np.where(is_fluid, fluid_label, np.where(is_grey, grey_label, white_label))
    return np.where(brain, labels, 0).astype(np.uint8)
