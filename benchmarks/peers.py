"""Registration tools as whole processes, as their users run them.

Nothing of regcore is imported here, so that nobody else pays for it. Run as ``python -m benchmarks.peers
METHOD JOB``, with the `Job` as JSON, it is one registration: everything a user waits for, from reading the
images to writing the transform and the warped image. ``engine_s.txt`` says how long the tool's own
registration took of that.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

ENGINE_FILE = "engine_s.txt"


@dataclass(frozen=True)
class Job:
    """One registration.

    Parameters
    ----------
    folder : str
        Where everything is written.
    fixed, moving : str
        Images, NIfTI.
    task : str
        See `benchmarks.data.Row`.
    threads : int
    fixed_mask, moving_mask : str, optional
    """

    folder: str
    fixed: str
    moving: str
    task: str
    threads: int
    fixed_mask: str | None = None
    moving_mask: str | None = None


def _greedy_lines(job: Job, fixed: str, moving: str, masks: list[str], affine: str, warp: str) -> list[str]:
    inside = f"-gm {masks[0]} -mm {masks[1]}" if masks else ""
    common = f"-d 3 -threads {job.threads} -V 0 -i {fixed} {moving} {inside} -n 100x50x10"
    how = {"rigid": "-dof 6 -m NMI", "crop": "-dof 6 -m NCC 2x2x2"}.get(job.task, "-m NMI")
    linear = f"{common} -a {how} -ia-image-centers -o {affine}"
    begin = "" if job.task == "deformable" else f"-it {affine}"
    deformable = f"{common} -m {'WNCC' if masks else 'NCC'} 2x2x2 {begin} -o {warp}"
    return {"deformable": [deformable], "rigid": [linear]}.get(job.task, [linear, deformable])


def _run_greedy(job: Job) -> float:
    from picsl_greedy import Greedy3D

    greedy, affine, warp = Greedy3D(), f"{job.folder}/affine.mat", f"{job.folder}/warp.nii.gz"
    masks = [job.fixed_mask, job.moving_mask] if job.fixed_mask and job.moving_mask else []
    start = time.perf_counter()
    for line in _greedy_lines(job, job.fixed, job.moving, masks, affine, warp):
        greedy.execute(line)
    seconds = time.perf_counter() - start
    chain = {"deformable": warp, "rigid": affine}.get(job.task, f"{warp} {affine}")
    images = f"-rf {job.fixed} -rm {job.moving} {job.folder}/warped.nii.gz"
    greedy.execute(f"-d 3 -threads {job.threads} -V 0 {images} -r {chain}")
    return seconds


def _run_greedy_in_memory(job: Job) -> float:
    # reading and writing files is part of greedy's own calls, so its engine is timed apart: in one process
    # with the above it would need more memory than greedy as it is mostly run
    import SimpleITK
    from picsl_greedy import Greedy3D

    paths = {"fixed": job.fixed, "moving": job.moving}
    if job.fixed_mask and job.moving_mask:
        paths |= {"fixed_mask": job.fixed_mask, "moving_mask": job.moving_mask}
    images = {name: SimpleITK.ReadImage(path, SimpleITK.sitkFloat32) for name, path in paths.items()}
    greedy, results = Greedy3D(), {"affine": None, "warp": None}
    start = time.perf_counter()
    for line in _greedy_lines(job, "fixed", "moving", list(paths)[2:], "affine", "warp"):
        greedy.execute(line, **images, **{name: None for name in results if line.endswith(f"-o {name}")})
    return time.perf_counter() - start


def _ants(kinds: Mapping[str, str]) -> Callable[[Job], float]:
    def run(job: Job) -> float:
        import ants

        fixed, moving = ants.image_read(job.fixed), ants.image_read(job.moving)
        more: dict[str, Any] = {}
        if job.task == "deformable":
            more["initial_transform"] = "Identity"
        if job.fixed_mask:
            more["mask"], more["moving_mask"] = (
                ants.image_read(job.fixed_mask),
                ants.image_read(job.moving_mask),
            )
            more["mask_all_stages"] = True
        start = time.perf_counter()
        result = ants.registration(
            fixed, moving, kinds[job.task], outprefix=f"{job.folder}/ants_", random_seed=1, **more
        )
        seconds = time.perf_counter() - start
        ants.image_write(result["warpedmovout"], f"{job.folder}/warped.nii.gz")
        return seconds

    return run


ELASTIX_STAGES = {
    "full": ("translation", "affine", "bspline"),
    "deformable": ("bspline",),
    "rigid": ("rigid",),
    "crop": ("translation", "affine", "bspline"),
    "lung": ("affine", "bspline"),
}
# of the realistic example for this very CT pair in elastix's own repository
ELASTIX_LUNG = {
    "AutomaticTransformInitialization": "true",
    "Metric": "AdvancedNormalizedCorrelation",
    "NumberOfResolutions": "3",
    "MaximumNumberOfIterations": "1000",
    "ImageSampler": "RandomCoordinate",
    "NumberOfSpatialSamples": "2000",
    "FinalGridSpacingInPhysicalUnits": "10",
    "GridSpacingSchedule": ("4", "2", "1"),
}


def _run_elastix(job: Job) -> float:
    import itk

    # told by its own argument, the default B-spline stage crashes (itk-elastix 0.25.4)
    itk.set_nthreads(job.threads)
    parameters = itk.ParameterObject.New()
    for stage in ELASTIX_STAGES[job.task]:
        settings = dict(parameters.GetDefaultParameterMap(stage))
        if job.task == "lung":
            for key, value in ELASTIX_LUNG.items():
                if "Grid" not in key or stage == "bspline":
                    settings[key] = (value,) if isinstance(value, str) else value
        parameters.AddParameterMap(settings)
    fixed, moving = (itk.imread(path, itk.F) for path in (job.fixed, job.moving))
    more: dict[str, Any] = {}
    if job.fixed_mask:
        more = {
            "fixed_mask": itk.imread(job.fixed_mask, itk.UC),
            "moving_mask": itk.imread(job.moving_mask, itk.UC),
        }
    start = time.perf_counter()
    warped, result = itk.elastix_registration_method(
        fixed, moving, parameter_object=parameters, log_to_console=False, **more
    )
    seconds = time.perf_counter() - start
    itk.imwrite(warped, f"{job.folder}/warped.nii.gz")
    # it also writes the field as deformationField.nii, into the current folder unless told otherwise
    with TemporaryDirectory() as scratch:
        field = itk.transformix_deformation_field(moving, result, output_directory=scratch)
    # ITK's own order of axes, kept from any NIfTI writer's ideas about vectors
    values = np.ascontiguousarray(itk.array_view_from_image(field), np.float32)
    np.save(f"{job.folder}/field_lps_mm.npy", values.transpose(2, 1, 0, 3))
    return seconds


def _run_dipy(job: Job) -> float:
    from dipy.align import affine_registration, syn_registration
    from dipy.io.image import load_nifti, save_nifti

    (fixed, to_world), (moving, moving_to_world) = load_nifti(job.fixed), load_nifti(job.moving)
    fixed, moving = fixed.astype(np.float64), moving.astype(np.float64)
    if job.fixed_mask:
        # its SyN takes no masks: what is outside is made dark
        fixed = np.where(load_nifti(job.fixed_mask)[0] > 0, fixed, fixed.min())
        moving = np.where(load_nifti(job.moving_mask)[0] > 0, moving, moving.min())
    grids = {"moving_affine": moving_to_world, "static_affine": to_world}
    matrix, mapping = np.eye(4), None
    start = time.perf_counter()
    if job.task != "deformable":
        stages = ["center_of_mass", "translation", "rigid", "affine"]
        stages = stages[: 3 if job.task == "rigid" else 4]
        warped, matrix = affine_registration(moving, fixed, pipeline=stages, **grids)
    if job.task != "rigid":
        # the usual radius, 4, is too large for the coarsest level of a crop
        radius = {"radius": 2} if job.task == "crop" else {}
        warped, mapping = syn_registration(moving, fixed, prealign=matrix, **radius, **grids)
    seconds = time.perf_counter() - start
    save_nifti(f"{job.folder}/warped.nii.gz", warped.astype(np.float32), to_world)
    np.savetxt(f"{job.folder}/affine.txt", matrix)
    if mapping is not None:
        np.savez(
            f"{job.folder}/mapping.npz",
            prealign_inverse=mapping.prealign_inv,
            forward=mapping.get_forward_field().astype(np.float32),
            backward=mapping.get_backward_field().astype(np.float32),
        )
    return seconds


def _kinds(full: str, deformable: str, rigid: str) -> dict[str, str]:
    return {"full": full, "crop": full, "lung": full, "deformable": deformable, "rigid": rigid}


ANTS = {
    "ants-syn": _kinds("SyN", "SyNOnly", "Rigid"),
    **{
        name: _kinds(f"{script}[s]", f"{script}[so]", f"{script}[r]")
        for name, script in (
            ("ants-quick", "antsRegistrationSyNQuick"),
            ("ants-full", "antsRegistrationSyN"),
        )
    },
}
RUNS: dict[str, Callable[[Job], float]] = {
    "greedy": _run_greedy,
    "greedy-in-memory": _run_greedy_in_memory,
    **{name: _ants(kinds) for name, kinds in ANTS.items()},
    "elastix": _run_elastix,
    "dipy": _run_dipy,
}

if __name__ == "__main__":
    work = Job(**json.loads(sys.argv[2]))
    Path(work.folder, ENGINE_FILE).write_text(repr(RUNS[sys.argv[1]](work)))
    # some of these libraries crash when Python takes them down, after everything is written
    sys.stdout.flush()
    os._exit(0)
