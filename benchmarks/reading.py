"""What each tool wrote, as regcore's transforms: fixed to moving world RAS+ mm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from regcore.errors import InputError
from regcore.io.itk import read_transform
from regcore.io.nifti import read_grid
from regcore.transforms import Affine, Chain, Displacement, Transform

BothWays = tuple[Transform, Transform | None]


def read_result(name: str, folder: Path, fixed: Path, linear: bool = True) -> BothWays:
    """Transform of a registration and, where the tool gives one, its inverse.

    Parameters
    ----------
    name : str
        Method.
    folder : Path
        Where it wrote.
    fixed : Path
        The fixed image.
    linear : bool
        Whether an affine registration came first.
    """
    return READERS[name](folder, fixed, linear)


def _read_regcore(folder: Path, fixed: Path, linear: bool) -> BothWays:
    return read_transform(folder / "forward.h5"), read_transform(folder / "backward.h5")


def _read_greedy(folder: Path, fixed: Path, linear: bool) -> BothWays:
    from picsl_greedy import Greedy3D

    # not counted in its time: greedy's users ask for the inverse only where they need it
    Greedy3D().execute(f"-d 3 -V 0 -iw {folder}/warp.nii.gz {folder}/inverse.nii.gz")
    # greedy writes its affine in RAS and its fields in LPS
    affine = Affine(np.loadtxt(folder / "affine.mat") if linear else np.eye(4))
    forward = Chain((affine, read_transform(folder / "warp.nii.gz")))
    try:
        return forward, Chain((read_transform(folder / "inverse.nii.gz"), affine.inverse()))
    except InputError:
        # where its affine collapses, greedy's inverse is not finite
        return forward, None


def read_ants(folder: Path, fixed: Path, linear: bool = True) -> BothWays:
    """What ANTs wrote with the prefix ``ants_``, both ways."""
    found = sorted(folder.glob("ants_0GenericAffine.mat"))
    affine = read_transform(found[0]) if found else Affine(np.eye(4))
    warps = [path for path in folder.glob("ants_*Warp.nii.gz") if "Inverse" not in path.name]
    inverses = list(folder.glob("ants_*InverseWarp.nii.gz"))
    if len(warps) != 1 or len(inverses) != 1:
        raise RuntimeError(f"{folder}: expected one warp of ANTs and its inverse, found {len(warps)}")
    forward = Chain((affine, read_transform(warps[0])))
    return forward, Chain((read_transform(inverses[0]), affine.inverse()))


def _read_elastix(folder: Path, fixed: Path, linear: bool) -> BothWays:
    grid = read_grid(fixed)
    field = np.load(folder / "field_lps_mm.npy") * np.array([-1, -1, 1], np.float32)
    return Displacement.from_world(field, grid), None


def _read_dipy(folder: Path, fixed: Path, linear: bool) -> BothWays:
    return Displacement.from_world(np.load(folder / "field_ras_mm.npy"), read_grid(fixed)), None


READERS: dict[str, Callable[[Path, Path, bool], BothWays]] = {
    "regcore": _read_regcore,
    "greedy": _read_greedy,
    "ants-syn": read_ants,
    "ants-quick": read_ants,
    "ants-full": read_ants,
    "elastix": _read_elastix,
    "dipy": _read_dipy,
}
