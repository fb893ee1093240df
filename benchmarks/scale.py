"""What the workflow itself costs as cohorts grow: ``python -m benchmarks.scale --help``."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas

from benchmarks.cohorts import blobs, warped_hippocampi
from benchmarks.measure import measure
from benchmarks.methods import ROOT, environment
from benchmarks.pairwise import machine
from benchmarks.tables import markdown
from regcore.errors import InputError

ITERATIONS = 4
COHORTS = {"blobs": blobs, "hippocampus": warped_hippocampi}
STAGES = {
    # as little as an iteration can do: what is left is the workflow
    "blobs": [
        {"name": "affine", "repeats": 2, "linear": [{"shrink": [2], "iterations": [1], "rotations_deg": 0}]},
        {"name": "deformable", "repeats": 2, "deformable": {"shrink": [1], "iterations": [1]}},
    ],
    "hippocampus": [
        {"name": "affine", "repeats": 2, "linear": [{"shrink": [2], "iterations": [20], "rotations_deg": 0}]},
        {"name": "deformable", "repeats": 2, "deformable": {"shrink": [2, 1], "iterations": [15, 10]}},
    ],
}


def plan_row(folder: Path, members: int, batch_size: int | None = None) -> dict[str, Any]:
    """What planning a study of so many members takes: jobs, seconds, MiB."""
    command = _command(folder, "blobs", members, batch_size)
    log = folder / "plan.log"
    cost = measure([*command, "--dry-run", "--quiet", "rules"], environment(1), log)
    jobs = re.search(r"^total +(\d+)$", log.read_text(), re.MULTILINE)
    return {
        "subjects": members,
        "batch size": batch_size or "usual",
        "jobs": int(jobs.group(1)) if jobs else 0,
        "wall s": round(cost.wall_s, 1),
        "processor s": round(cost.cpu_s, 1),
        "MiB": round(cost.memory_mib),
    }


def run_row(folder: Path, cohort: str, members: int, batch_size: int | None, cores: int) -> dict[str, Any]:
    """What a study of so many members takes from start to end: time, memory, disk.

    Returns
    -------
    dict
        ``s a subject and iteration`` is the processor time of the whole run, but for compiling the kernels;
        ``disk peak`` the most that the results took at any time, as multiple of what they take in the end.
    """
    command = _command(folder, cohort, members, batch_size)
    with _watched(folder / "results") as sizes:
        cost = measure([*command, "--cores", str(cores)], environment(1), folder / "run.log")
    used = pandas.read_csv(folder / "results" / "tables" / "runtime.tsv", sep="\t")
    compiling = used.loc[used["rule"] == "warm_cache", "cpu_seconds"].sum()
    published = sum(_size(each) for each in (folder / "results").iterdir() if each.name != "work")
    return {
        "subjects": members,
        "batch size": batch_size or "usual",
        "minutes": round(cost.wall_s / 60, 1),
        "jobs": len(used),
        "processor s": round(cost.cpu_s - compiling),
        "s a subject and iteration": round((cost.cpu_s - compiling) / members / ITERATIONS, 3),
        "largest job MB": round(used["memory_mb"].max()),
        "Snakemake MB": round(cost.memory_mib * 2**20 / 1e6),
        "disk MB": round(max(sizes) / 1e6),
        "disk peak": round(max(sizes) / sizes[-1], 2),
        "of what is published": round(max(sizes) / published, 2),
    }


def _command(folder: Path, cohort: str, members: int, batch_size: int | None) -> list[str]:
    """Snakemake on a cohort, made where it is missing."""
    config: dict[str, Any] = {
        "cohort": {"source": str(COHORTS[cohort](folder, members))},
        "results": str(folder / "results"),
        "targets": ["template", "population", "tables", "report"],
        # images that are alike are told from outliers by noise alone
        "qc": {"rule": "none"},
        "template": {"name": "Scale", "stop_mm": 0.000001, "stages": STAGES[cohort]},
    } | ({"batch_size": batch_size} if batch_size else {})
    settings = folder / f"config-{batch_size or 'usual'}.json"
    settings.write_text(json.dumps(config))
    start = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    start += ["--profile", str(ROOT / "profiles" / "default"), "--directory", str(folder)]
    return [*start, "--configfile", str(settings)]


@contextmanager
def _watched(folder: Path, seconds: float = 2.0) -> Iterator[list[int]]:
    """Bytes on disk below a folder, again and again; the last value is that at the end."""
    sizes: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            sizes.append(_size(folder))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()
        sizes.append(_size(folder))


def _size(path: Path) -> int:
    """Bytes on disk, files with several names once; what vanishes meanwhile does not count."""
    du = shutil.which("du")
    if du is None:
        raise InputError("du: expected this program to measure disk space with, found none")
    done = subprocess.run([du, "-s", "-B1", str(path)], capture_output=True, text=True, check=False)  # noqa: S603
    return int(done.stdout.split()[0]) if done.stdout else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("what", choices=["plan", *COHORTS], help="dry runs; runs of blobs or of hippocampi")
    parser.add_argument("members", nargs="*", type=int, help="sizes of cohorts (plan: 10 100 1000 10000)")
    parser.add_argument("--batch-size", type=int, help="members a job works on (default: the workflow's own)")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work", type=Path, default=Path("results-benchmarks") / "scale")
    options = parser.parse_args(arguments)
    rows: list[Mapping[str, Any]] = []
    try:
        for members in options.members or (10, 100, 1000, 10_000):
            folder = (options.work / f"{options.what}-{members}").resolve()
            folder.mkdir(parents=True, exist_ok=True)
            if options.what == "plan":
                rows.append(plan_row(folder, members, options.batch_size))
            else:
                rows.append(run_row(folder, options.what, members, options.batch_size, options.cores))
            print(json.dumps(rows[-1]), flush=True)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    date = datetime.datetime.now(tz=datetime.UTC).date()
    print(f"\n{date}, {machine()}\n\n{markdown(pandas.DataFrame(rows))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
