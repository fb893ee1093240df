"""Eight heads, each labelled by the other seven: regcore's fusions and ANTs' joint label fusion.

Each tool fuses what its own registrations bring. Every registration and every fusion is a whole process, is
timed, and is kept: a run that was cut off goes on. Run as ``python -m benchmarks.fusion METHOD OUTPUT THREADS
TARGET IMAGES... LABELS...`` it is one fusion.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import TEMPLATE_MEMBERS, Row, brains

FUSION = Row("fusion", TEMPLATE_MEMBERS, preset="t1-brain")
# fusion, and the tool whose registrations it is fed with
METHODS = {
    "regcore majority": "regcore",
    "regcore local": "regcore",
    "regcore staple": "regcore",
    "regcore joint": "regcore",
    "ants joint": "ants-syn",
}
SETTINGS = {
    "regcore joint": "alpha 0.1, beta 2, radius 1, search 2",
    "ants joint": "ants.joint_label_fusion as antspyx has it (rho 0.01, beta 4, radius 2, search 3)",
}


def fusion_row(setup, tools, targets=None):  # type: ignore[no-untyped-def]
    """Label each of eight heads by the other seven.

    Parameters
    ----------
    setup : Setup
    tools : sequence of str
        Tools whose registrations and fusions take part: ``regcore``, ``ants-syn``.
    targets : int, optional
        Only the first ones.

    Returns
    -------
    DataFrame
        A row a fusion: mean and worst Dice over targets, least gain on majority, and seconds of all
        registrations and fusions.
    """
    import pandas

    from benchmarks.methods import is_installed, version

    members = brains()[: FUSION.count]
    if "regcore" in tools:
        _compile()
    rows: list[dict[str, Any]] = []
    kept: dict[str, list[float]] = {}
    for name, tool in METHODS.items():
        if tool not in tools or not is_installed(tool):
            rows.append({"fusion": name, "settings": "absent" if tool in tools else "not asked for"})
            continue
        costs, scores = [], []
        for target in members[:targets]:
            others = [member for member in members if member != target]
            registered = [_register(target, atlas, tool, setup) for atlas in others]
            fused = _fuse(name, target, [atlas.name for atlas in others], tool, setup)
            costs.append([sum(one["cpu_s"] for one in registered), fused["cpu_s"], fused["memory_mib"]])
            scores.append(fused["dice"])
        kept[name] = scores
        registering, fusing, memory = np.array(costs).T
        gain = np.array(scores) - np.array(kept.get("regcore majority", scores))
        rows.append(
            {
                "fusion": f"{name} {version(tool)}",
                "settings": SETTINGS.get(name, ""),
                "targets": len(scores),
                "dice": round(float(np.mean(scores)), 4),
                "worst dice": round(float(np.min(scores)), 4),
                "least gain on majority": round(float(gain.min()), 4),
                "registrations, cpu (s)": round(float(registering.sum()), 1),
                "fusions, cpu (s)": round(float(fusing.sum()), 1),
                "together, cpu (s)": round(float(registering.sum() + fusing.sum()), 1),
                "memory of a fusion (MiB)": round(float(memory.max())),
            }
        )
    return pandas.DataFrame(rows)


def _compile():  # type: ignore[no-untyped-def]
    """Let regcore compile its kernels of fusion, once a machine, before anything is timed."""
    from regcore.image import Image
    from regcore.labels.fuse import FUSIONS, fuse
    from regcore.space import Grid

    grid, generator = Grid((12, 12, 12), np.eye(4)), np.random.default_rng(1)
    images = [Image(generator.random(grid.shape, np.float32), grid) for _ in range(3)]
    labels = [Image((image.data > 0.5).astype(np.int32), grid) for image in images]
    for method in FUSIONS:
        fuse(method, images[0], images, labels)


def _folder(target, tool, setup):  # type: ignore[no-untyped-def]
    from benchmarks.pairwise import source_mark

    mark = f"-{source_mark()}" if tool == "regcore" else ""
    return setup.work / "fusion" / f"{tool}{mark}_threads-{setup.threads}" / target.name


def _register(target, atlas, tool, setup):  # type: ignore[no-untyped-def]
    """Cost of a registration; image and labels of the atlas on the target's grid are kept."""
    from benchmarks.measure import measure
    from benchmarks.methods import command, environment
    from benchmarks.peers import Job
    from benchmarks.reading import read_result
    from regcore.io.nifti import read_image, read_labels, write_image
    from regcore.io.tables import read_json, write_json
    from regcore.labels.propagate import propagate

    folder = _folder(target, tool, setup)
    kept = folder / f"{atlas.name}.json"
    if kept.exists():
        return read_json(kept)
    work = folder / f"{atlas.name}_unfinished"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    job = Job(str(work), str(target.image), str(atlas.image), FUSION.task, setup.threads)
    cost = measure(
        command(tool, job, FUSION.preset), environment(setup.threads), folder / f"{atlas.name}.log"
    )
    image, labels = read_image(atlas.image), read_labels(atlas.labels)
    forward = read_result(tool, job)[0]
    # carried alike for every tool, so that only registration and fusion differ
    there, warped = propagate(labels, image, read_image(target.image).grid, forward)
    write_image(folder / f"{atlas.name}_dseg.nii.gz", there, dtype=np.int16)
    write_image(folder / f"{atlas.name}_T1w.nii.gz", warped)
    write_json(kept, asdict(cost))
    shutil.rmtree(work)
    print(f"fusion {target.name} <- {atlas.name} {tool}: {cost.cpu_s:.1f} s", flush=True)
    return asdict(cost)


def _fuse(name, target, atlases, tool, setup):  # type: ignore[no-untyped-def]
    """Cost of a fusion and its mean Dice."""
    from benchmarks.measure import measure
    from benchmarks.methods import environment
    from benchmarks.score import mean_dice
    from regcore.io.nifti import read_labels
    from regcore.io.tables import read_json, write_json

    folder = _folder(target, tool, setup)
    kept = folder / f"{name.replace(' ', '-')}.json"
    if kept.exists():
        return read_json(kept)
    output = folder / f"fused_{name.replace(' ', '-')}_dseg.nii.gz"
    files = [str(folder / f"{atlas}_{kind}.nii.gz") for kind in ("T1w", "dseg") for atlas in atlases]
    line = [sys.executable, "-m", "benchmarks.fusion", name, str(output), str(setup.threads)]
    cost = measure([*line, str(target.image), *files], environment(setup.threads), kept.with_suffix(".log"))
    result = {"dice": mean_dice(read_labels(target.labels), read_labels(output)), **asdict(cost)}
    write_json(kept, result)
    print(f"fusion {target.name} {name}: dice {result['dice']:.4f}, {cost.cpu_s:.1f} s", flush=True)
    return result


def fuse_with_regcore(
    method: str, output: Path, threads: int, target: str, images: list[str], labels: list[str]
) -> None:
    """Fuse with regcore, by its defaults."""
    from regcore.io.nifti import read_image, read_labels, write_image
    from regcore.kernels.parallel import set_threads
    from regcore.labels.fuse import fuse

    set_threads(threads)
    carried = [read_image(path) for path in images], [read_labels(path) for path in labels]
    write_image(output, fuse(method, read_image(target), *carried)[0], dtype=np.int16)


def fuse_with_ants(output: Path, target: str, images: list[str], labels: list[str]) -> None:
    """Fuse with ANTs, by its defaults, where any atlas has a label."""
    import ants

    maps = [ants.image_read(path) for path in labels]
    anywhere = np.any([one.numpy() > 0 for one in maps], axis=0)
    mask = maps[0].new_image_like(anywhere.astype(np.float32))
    # its answer is always one of the labels: background is one more
    last = max(int(one.numpy().max()) for one in maps) + 1
    known = [one.new_image_like(np.where(one.numpy() == 0, last, one.numpy()) * anywhere) for one in maps]
    fused = ants.joint_label_fusion(
        ants.image_read(target), mask, [ants.image_read(path) for path in images], label_list=known
    )["segmentation"]
    found = fused.numpy()
    ants.image_write(fused.new_image_like(np.where(found == last, 0, found)), str(output))


def main() -> None:
    """Run one fusion."""
    name, output, threads, target, *files = sys.argv[1:]
    images, labels = files[: len(files) // 2], files[len(files) // 2 :]
    if name == "ants joint":
        fuse_with_ants(Path(output), target, images, labels)
    else:
        fuse_with_regcore(name.split()[1], Path(output), int(threads), target, images, labels)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
