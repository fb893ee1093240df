"""The tools: what they need, how they are set on each task, and the command line of one registration."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers import ANTS, Job

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Method:
    """A tool and how it is run.

    Parameters
    ----------
    module : str
        What must be installed.
    settings : mapping of str to str
        In words, for the table, of every task.
    engine : str, optional
        Run of `benchmarks.peers` that times the registration itself, where the usual one cannot.
    only : mapping of str to int, optional
        Rows it takes part in, and with how many pairs, where it is too slow for all.
    timed : int, optional
        On how many pairs of a row times are taken, once each, where no bar asks for more; else on all.
    """

    module: str
    settings: Mapping[str, str]
    engine: str | None = None
    only: Mapping[str, int] | None = None
    timed: int | None = None

    def takes(self, row: str, number: int) -> bool:
        """Whether it is run on a pair of a row, by its number from 0."""
        return self.only is None or number < self.only.get(row, 0)

    def is_timed(self, number: int, repeat: int) -> bool:
        """Whether times are taken on a pair of a row, by its number from 0, and in a run of it."""
        return self.timed is None or (number < self.timed and repeat == 0)


def command(name: str, job: Job, preset: str) -> list[str]:
    """Command line of a registration as a process of its own; only regcore heeds the preset."""
    if name != "regcore":
        return [sys.executable, "-m", "benchmarks.peers", name, json.dumps(asdict(job))]
    how = ["--preset", preset]
    if job.task == "deformable":
        how = ["--settings", str(_without_linear(preset, Path(job.folder)))]
    for side, mask in (("--fixed-mask", job.fixed_mask), ("--moving-mask", job.moving_mask)):
        how += [side, mask] if mask else []
    outputs = ["-t", "forward.h5", "-i", "backward.h5", "-w", "warped.nii.gz"]
    outputs = [f"{job.folder}/{name}" if "." in name else name for name in outputs]
    options = [*outputs, *how, "--threads", str(job.threads), "--quiet"]
    return [sys.executable, "-m", "regcore", "register", job.fixed, job.moving, *options]


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


def _without_linear(preset: str, folder: Path) -> Path:
    import yaml

    from regcore.registration.presets import preset as named

    settings = folder / "settings.yaml"
    # as JSON first: YAML has no tuples
    content = json.loads(json.dumps({**named(preset).to_dict(), "linear": []}))
    settings.write_text(yaml.safe_dump(content))
    return settings


def _by_task(
    full: str, deformable: str, rigid: str, lung: str | None = None, crop: str | None = None
) -> dict[str, str]:
    lung = f"{full}, masks" if lung is None else lung
    crop = full if crop is None else crop
    return {"full": full, "deformable": deformable, "rigid": rigid, "lung": lung, "crop": crop}


SLOW = {"brains": 3, "brains_1mm": 1, "mouse": 3, "lung": 1, "multimodal": 2, "icbm": 1, "startup": 1}
"""Pairs of every row that tools of minutes a pair are run on."""
METHODS = {
    "regcore": Method("regcore", _by_task("", ", no linear stage", "")),
    "greedy": Method(
        "picsl_greedy",
        _by_task(
            "affine NMI, then NCC 2x2x2, both 100x50x10, image centres",
            "NCC 2x2x2, 100x50x10",
            "NMI, 6 degrees of freedom, 100x50x10, image centres",
            "affine NMI, then WNCC 2x2x2, both 100x50x10, image centres, masks",
            "rigid, then deformable, both NCC 2x2x2, 100x50x10, image centres",
        ),
        engine="greedy-in-memory",
    ),
    "ants-syn": Method(
        "ants",
        _by_task("SyN as antspyx has it (mattes, 40x20x0)", "SyNOnly (mattes, 40x20x0)", "Rigid (mattes)"),
        timed=1,
    ),
    **{
        name: Method(
            "ants",
            _by_task(*(kinds[task] for task in ("full", "deformable", "rigid"))),
            only={"brains": 3} if name == "ants-full" else None,
            timed=1,
        )
        for name, kinds in ANTS.items()
        if name != "ants-syn"
    },
    "elastix": Method(
        "itk",
        _by_task(
            "its default: translation, affine, B-spline",
            "default B-spline",
            "default rigid",
            "affine, then B-spline of 10 mm: correlation, 3 levels, 1000 iterations, 2000 samples, masks",
        ),
        only={**SLOW, "brains_1mm": 2, "hippocampus": 5, "multimodal": 4},
        timed=1,
    ),
    "dipy": Method(
        "dipy",
        _by_task(
            "affine MI (4 stages), then SyN CC, defaults",
            "SyN CC, defaults",
            "centre of mass, translation, rigid: MI, defaults",
            "affine MI (4 stages), then SyN CC, defaults, on masked images",
            "affine MI (4 stages), then SyN CC of radius 2, defaults otherwise",
        ),
        only={**SLOW, "hippocampus": 20},
        timed=1,
    ),
}
