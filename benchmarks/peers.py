"""Registration tools as whole processes, as their users run them.

Nothing of regcore is imported here, so that nobody else pays for it. Run as ``python -m
benchmarks.peers METHOD FOLDER FIXED MOVING LINEAR THREADS`` it is one registration:
everything a user waits for, from reading the images to writing the transform and the warped image.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
REGCORE = "import sys; from regcore.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Method:
    """A tool and how it is run.

    Parameters
    ----------
    module : str
        What must be installed.
    settings : str
        In words, for the table.
    run : callable or None
        ``run(folder, fixed, moving, linear, threads)`` registers and writes into `folder`.
    """

    module: str
    settings: str
    run: Callable[[Path, str, str, bool, int], None] | None


def command(name: str, folder: Path, fixed: Path, moving: Path, linear: bool, threads: int) -> list[str]:
    """Command line of a registration as a process of its own."""
    if name != "regcore":
        arguments = [name, str(folder), str(fixed), str(moving), str(int(linear)), str(threads)]
        return [sys.executable, "-m", "benchmarks.peers", *arguments]
    chosen: list[str] = []
    if not linear:
        settings = folder / "settings.yaml"
        settings.write_text("linear: []\n")
        chosen = ["--settings", str(settings)]
    outputs = ["-t", f"{folder}/forward.h5", "-i", f"{folder}/backward.h5", "-w", f"{folder}/warped.nii.gz"]
    options = [*outputs, *chosen, "--threads", str(threads), "--quiet"]
    return [sys.executable, "-c", REGCORE, "register", str(fixed), str(moving), *options]


def environment(threads: int) -> dict[str, str]:
    """Variables by which tools learn how many threads to use, and where this package lies."""
    names = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    # MKL and numexpr follow OMP_NUM_THREADS
    return {**dict.fromkeys(names, str(threads)), "PYTHONPATH": str(ROOT)}


def is_installed(name: str) -> bool:
    """Whether a method can be run here."""
    return importlib.util.find_spec(METHODS[name].module) is not None


def version(name: str) -> str:
    """Version of the package of a method."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    packages = {"ants": "antspyx", "itk": "itk-elastix"}
    module = METHODS[name].module
    try:
        return of(packages.get(module, module))
    except PackageNotFoundError:
        return str(getattr(importlib.import_module(module), "__version__", "of unknown version"))


def _run_greedy(folder: Path, fixed: str, moving: str, linear: bool, threads: int) -> None:
    from picsl_greedy import Greedy3D

    greedy, common = Greedy3D(), f"-d 3 -threads {threads} -V 0 -i {fixed} {moving} -n 100x50x10"
    affine = f"{folder}/affine.mat"
    if linear:
        greedy.execute(f"{common} -a -m NMI -ia-image-centers -o {affine}")
    start = f"-it {affine}" if linear else ""
    greedy.execute(f"{common} -m NCC 2x2x2 {start} -o {folder}/warp.nii.gz")
    chain = f"{folder}/warp.nii.gz {affine if linear else ''}"
    greedy.execute(f"-d 3 -threads {threads} -V 0 -rf {fixed} -rm {moving} {folder}/warped.nii.gz -r {chain}")


def _ants(kind: str, aligned: str | None = None) -> Callable[[Path, str, str, bool, int], None]:
    def run(folder: Path, fixed: str, moving: str, linear: bool, threads: int) -> None:
        import ants

        how = kind if linear else str(aligned)
        reference = ants.image_read(fixed)
        start: dict[str, Any] = {} if linear else {"initial_transform": "Identity"}
        result = ants.registration(
            reference, ants.image_read(moving), how, outprefix=f"{folder}/ants_", random_seed=1, **start
        )
        ants.image_write(result["warpedmovout"], f"{folder}/warped.nii.gz")

    return run


def _run_elastix(folder: Path, fixed: str, moving: str, linear: bool, threads: int) -> None:
    import itk

    itk.set_nthreads(threads)
    parameters = itk.ParameterObject.New()
    for stage in (["affine"] if linear else []) + ["bspline"]:
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(stage))
    images = [itk.imread(path, itk.F) for path in (fixed, moving)]
    warped, result = itk.elastix_registration_method(
        *images, parameter_object=parameters, number_of_threads=threads, log_to_console=False
    )
    itk.imwrite(warped, f"{folder}/warped.nii.gz")
    field = itk.transformix_deformation_field(images[1], result)
    # ITK's own order of axes, kept from any NIfTI writer's ideas about vectors
    values = np.ascontiguousarray(itk.array_view_from_image(field), np.float32)
    np.save(folder / "field_lps_mm.npy", values.transpose(2, 1, 0, 3))


def _run_dipy(folder: Path, fixed: str, moving: str, linear: bool, threads: int) -> None:
    from dipy.align import affine_registration, syn_registration
    from dipy.io.image import load_nifti, save_nifti

    (reference, to_world), (image, moving_to_world) = load_nifti(fixed), load_nifti(moving)
    reference, image = reference.astype(np.float64), image.astype(np.float64)
    matrix = np.eye(4)
    if linear:
        stages = ["center_of_mass", "translation", "rigid", "affine"]
        _, matrix = affine_registration(
            image, reference, moving_affine=moving_to_world, static_affine=to_world, pipeline=stages
        )
    warped, mapping = syn_registration(
        image, reference, moving_affine=moving_to_world, static_affine=to_world, prealign=matrix
    )
    save_nifti(f"{folder}/warped.nii.gz", warped.astype(np.float32), to_world)
    # where each voxel of the fixed image reads the moving one: the moving image's coordinates, warped alike
    coordinates = _world_points(image.shape, moving_to_world)
    axes = [np.ascontiguousarray(coordinates[..., axis]) for axis in range(3)]
    points = np.stack([mapping.transform(axis, interpolation="linear") for axis in axes], axis=-1)
    inside = mapping.transform(np.ones(image.shape), interpolation="linear") > 0.999
    field = np.where(inside[..., None], points - _world_points(points.shape[:3], to_world), 1e4)
    np.save(folder / "field_ras_mm.npy", field.astype(np.float32))


def _world_points(shape: tuple[int, ...], affine: Any) -> Any:
    indices = np.stack(np.indices(shape), axis=-1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


METHODS = {
    "regcore": Method("regcore", "regcore register, preset default", None),
    "greedy": Method(
        "picsl_greedy", "affine NMI, then NCC 2x2x2, both 100x50x10, image centres", _run_greedy
    ),
    "ants-syn": Method("ants", "SyN as antspyx has it (mattes, 40x20x0)", _ants("SyN", "SyNOnly")),
    "ants-quick": Method(
        "ants",
        "antsRegistrationSyNQuick[s]",
        _ants("antsRegistrationSyNQuick[s]", "antsRegistrationSyNQuick[so]"),
    ),
    "ants-full": Method(
        "ants",
        "antsRegistrationSyN[s]",
        _ants("antsRegistrationSyN[s]", "antsRegistrationSyN[so]"),
    ),
    "elastix": Method("itk", "default affine, then default B-spline", _run_elastix),
    "dipy": Method("dipy", "affine MI (4 stages), then SyN CC, defaults", _run_dipy),
}

if __name__ == "__main__":
    name, where, fixed_path, moving_path, with_affine, count = sys.argv[1:]
    run = METHODS[name].run
    if run is None:
        sys.exit(f"{name} has a command line of its own")
    run(Path(where), fixed_path, moving_path, with_affine == "1", int(count))
    # some of these libraries crash when Python takes them down, after everything is written
    sys.stdout.flush()
    os._exit(0)
