"""What each tool wrote, as regcore's transforms: fixed to moving world RAS+ mm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers import ENGINE_FILE, Job
from regcore.errors import InputError
from regcore.io.arrays import read_arrays
from regcore.io.itk import read_transform
from regcore.io.nifti import read_grid
from regcore.io.tables import read_json
from regcore.transforms import Affine, Chain, Displacement, Transform

BothWays = tuple[Transform, Transform | None]


def read_result(name: str, job: Job) -> BothWays:
    """Transform of a registration and, where the tool gives one, its inverse."""
    return READERS[name](job)


def engine_seconds(name: str, job: Job) -> float:
    """Seconds of the registration itself, without start, reading and writing."""
    if name == "regcore":
        return float(read_json(Path(job.folder) / "forward.json")["Seconds"])
    return float(Path(job.folder, ENGINE_FILE).read_text())


def _read_regcore(job: Job) -> BothWays:
    return read_transform(f"{job.folder}/forward.h5"), read_transform(f"{job.folder}/backward.h5")


def _read_greedy(job: Job) -> BothWays:
    folder = Path(job.folder)
    # greedy writes its affine in RAS and its fields in LPS
    found = folder / "affine.mat"
    affine = Affine(np.loadtxt(found) if found.exists() else np.eye(4))
    if not (folder / "warp.nii.gz").exists():
        return affine, affine.inverse()
    from picsl_greedy import Greedy3D

    # not counted in its time: greedy's users ask for the inverse only where they need it
    Greedy3D().execute(f"-d 3 -V 0 -iw {folder}/warp.nii.gz {folder}/inverse.nii.gz")
    forward = Chain((affine, read_transform(folder / "warp.nii.gz")))
    try:
        return forward, Chain((read_transform(folder / "inverse.nii.gz"), affine.inverse()))
    except InputError:
        # where its affine collapses, greedy's inverse is not finite
        return forward, None


def _read_ants(job: Job) -> BothWays:
    return ants_transforms(Path(job.folder))


def ants_transforms(folder: Path) -> BothWays:
    """What ANTs wrote with the prefix ``ants_``, both ways."""
    found = sorted(folder.glob("ants_0GenericAffine.mat"))
    affine = read_transform(found[0]) if found else Affine(np.eye(4))
    warps = [path for path in folder.glob("ants_*Warp.nii.gz") if "Inverse" not in path.name]
    inverses = list(folder.glob("ants_*InverseWarp.nii.gz"))
    if not warps and found:
        return affine, affine.inverse()
    if len(warps) != 1 or len(inverses) != 1:
        raise RuntimeError(f"{folder}: expected one warp of ANTs and its inverse, found {len(warps)}")
    forward = Chain((affine, read_transform(warps[0])))
    return forward, Chain((read_transform(inverses[0]), affine.inverse()))


def _read_elastix(job: Job) -> BothWays:
    field = np.load(f"{job.folder}/field_lps_mm.npy") * np.array([-1, -1, 1], np.float32)
    return Displacement.from_world(field, read_grid(job.fixed)), None


def _read_dipy(job: Job) -> BothWays:
    kept = Path(job.folder) / "mapping.npz"
    if not kept.exists():
        affine = Affine(np.loadtxt(f"{job.folder}/affine.txt"))
        return affine, affine.inverse()
    mapping = read_arrays(kept)
    # dipy returns the inverse of a map from the moving to the fixed image, and so its affine leads that way;
    # both fields lie on the fixed grid: the affine comes after the one and before the other
    affine, grid = Affine(mapping["prealign_inverse"]), read_grid(job.fixed)
    there = Displacement.from_world(mapping["forward"], grid)
    back = Displacement.from_world(mapping["backward"], grid)
    return Chain((affine, there)), Chain((back, affine.inverse()))


READERS: dict[str, Callable[[Job], BothWays]] = {
    "regcore": _read_regcore,
    "greedy": _read_greedy,
    "ants-syn": _read_ants,
    "ants-quick": _read_ants,
    "ants-full": _read_ants,
    "elastix": _read_elastix,
    "dipy": _read_dipy,
}
