"""Pairs of images: agreement of the labels, folding, inverse consistency, time and memory.

Every result is kept beside the pair as JSON, and is not made again: a run that was cut off resumes.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy import ndimage

from benchmarks.data import Pair
from benchmarks.measure import measure
from benchmarks.peers import METHODS, ROOT, command, environment, is_installed, version
from benchmarks.reading import read_result
from regcore.errors import InputError
from regcore.image import Image
from regcore.io.nifti import read_labels, write_image
from regcore.io.tables import read_json, write_json
from regcore.kernels.jacobian import jacobian_determinant
from regcore.labels.overlap import dice
from regcore.resample import coverage, resample
from regcore.space import Grid
from regcore.transforms import Transform


@dataclass(frozen=True)
class Setup:
    """How registrations are run.

    Parameters
    ----------
    work : Path
        Folder of all that is kept.
    threads : int
        Of every tool.
    repeats : int
        Times each registration is run, for the time; every repeat runs all methods one after another.
    """

    work: Path
    threads: int
    repeats: int = 1


def run_pairs(row: str, pairs: Sequence[Pair], methods: Sequence[str], setup: Setup) -> pandas.DataFrame:
    """Register pairs with every method.

    Parameters
    ----------
    row : str
        Name of the row of the benchmark.
    pairs : sequence of Pair
    methods : sequence of str
        Names in `METHODS`; those not installed are left out.
    setup : Setup

    Returns
    -------
    DataFrame
        A row a pair and method: ``pair, method, dice, folded, inverse_error_vox, wall_s, cpu_s, memory_mib``
        (see `score`; costs are medians of the repeats), or ``failure`` with the reason.
    """
    rows = []
    for pair in pairs:
        runs: dict[str, list[dict[str, Any]]] = {}
        for repeat in range(setup.repeats):
            for name in methods:
                if is_installed(name):
                    runs.setdefault(name, []).append(run_pair(row, pair, name, setup, repeat))
        for name, found in runs.items():
            costs = pandas.DataFrame([one for one in found if "failure" not in one])
            medians = costs[["wall_s", "cpu_s", "memory_mib"]].median().to_dict() if len(costs) else {}
            rows.append({"pair": pair.name, "method": name, **found[0], **medians})
    return pandas.DataFrame(rows)


def run_pair(row: str, pair: Pair, name: str, setup: Setup, repeat: int = 0) -> dict[str, Any]:
    """One registration with one method, or what is kept of it.

    Returns
    -------
    dict
        As `score` and `Cost` have it; ``failure`` with the reason where the tool failed. The moving labels
        on the fixed grid are kept in the file that `labels_file` names.
    """
    kept = Path(f"{_stem(row, pair, name, setup)}_run-{repeat}.json")
    if kept.exists():
        return dict(read_json(kept))
    folder = kept.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    line = command(name, folder, pair.fixed.image, pair.moving.image, pair.linear, setup.threads)
    try:
        cost = measure(line, environment(setup.threads), kept.with_suffix(".log"))
        forward, backward = read_result(name, folder, pair.fixed.image, pair.linear)
        result = asdict(cost)
        if repeat == 0:
            result |= score(pair, forward, backward, labels_file(row, pair, name, setup))
        write_json(kept, result)
    except (InputError, RuntimeError) as error:
        result = {"failure": str(error)}
    shutil.rmtree(folder)
    figures = ", ".join(f"{key} {value:.4g}" for key, value in result.items() if isinstance(value, float))
    print(f"{row} {pair.name} {name}: {figures or result}", flush=True)
    return result


def labels_file(row: str, pair: Pair, name: str, setup: Setup) -> Path:
    """Where the labels of the moving image on the fixed grid are kept."""
    return Path(f"{_stem(row, pair, name, setup)}_dseg.nii.gz")


def score(
    pair: Pair, forward: Transform, backward: Transform | None, kept: Path | None = None
) -> dict[str, float]:
    """How good a registration is; the same code, and the same interpolation of labels, for every tool.

    Parameters
    ----------
    pair : Pair
    forward : Transform
        World mm of the fixed to world mm of the moving image.
    backward : Transform or None
        The way back, where the tool gives it.
    kept : Path, optional
        Where to write the moving labels on the fixed grid.

    Returns
    -------
    dict
        ``dice``: mean over the labels that either holds. ``folded``: share of the voxels that see the moving
        image where the Jacobian determinant is not above 0. ``inverse_error_vox``: mean distance from a
        labelled voxel to where there and back leads, in voxels; left out without `backward`.
    """
    reference, source = read_labels(pair.fixed.labels), read_labels(pair.moving.labels)
    carried = resample(source, reference.grid, forward, "label")
    if kept is not None:
        write_image(kept, carried, dtype=np.int16)
    result = {"dice": mean_dice(reference, carried), "folded": _folded(reference.grid, source.grid, forward)}
    if backward is not None:
        points = reference.grid.to_world(np.argwhere(reference.data > 0))
        moved = reference.grid.to_voxel(backward(forward(points))) - reference.grid.to_voxel(points)
        result["inverse_error_vox"] = float(np.linalg.norm(moved, axis=1).mean())
    return result


def mean_dice(first: Image, second: Image) -> float:
    """Mean Dice over the labels that either map holds."""
    return float(np.mean(list(dice(first, second).values())))


def summary(table: pandas.DataFrame, methods: Iterable[str], versus: str = "greedy") -> pandas.DataFrame:
    """A row a method: means of the scores, medians of the costs, and time against another, pair by pair."""
    rows = []
    for name in methods:
        if not is_installed(name):
            rows.append({"method": name, "settings": "absent: not installed"})
            continue
        mine = table[table.method == name].set_index("pair")
        good = mine[mine["dice"].notna()] if "dice" in mine else mine.iloc[:0]
        line: dict[str, Any] = {"method": f"{name} {version(name)}", "settings": METHODS[name].settings}
        line |= {"pairs": len(good), "failed": len(mine) - len(good)}
        if len(good):
            other = table[table.method == versus].set_index("pair").reindex(good.index)
            line["dice"], line["worst dice"] = round(good.dice.mean(), 4), round(good.dice.min(), 4)
            line[f"least gain on {versus}"] = round((good.dice - other.dice).min(), 4)
            line["folded %"] = round(100 * good.folded.mean(), 4)
            if "inverse_error_vox" in good:
                line["inverse error (vox)"] = round(good.inverse_error_vox.mean(), 3)
            line["wall (s)"], line["cpu (s)"] = round(good.wall_s.median(), 2), round(good.cpu_s.median(), 2)
            line[f"time / {versus}"] = round((good.wall_s / other.wall_s).median(), 3)
            line["memory (MiB)"] = round(good.memory_mib.median())
        rows.append(line)
    return pandas.DataFrame(rows)


@functools.cache
def source_mark() -> str:
    """Mark of regcore's sources: what was measured with others is not its result."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted((ROOT / "regcore").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _stem(row: str, pair: Pair, name: str, setup: Setup) -> Path:
    mark = f"-{source_mark()}" if name == "regcore" else ""
    return setup.work / row / pair.name / f"{name}{mark}_threads-{setup.threads}"


def _folded(grid: Grid, source: Grid, forward: Transform) -> float:
    points = forward(grid.world_points())
    field = (grid.to_voxel(points) - np.stack(np.indices(grid.shape), axis=-1)).astype(np.float32)
    # one voxel in from where the moving image ends: beyond, no tool promises anything
    seen = ndimage.binary_erosion(coverage(source, grid, forward).data > 0)
    return float((jacobian_determinant(field)[seen] <= 0).mean())
