"""Measure regcore beside other tools: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas

from benchmarks.atlas import atlas_row
from benchmarks.data import PAIRS, data_folder, pairs
from benchmarks.fusion import fusion_row
from benchmarks.measure import measure
from benchmarks.pairwise import Setup, run_pairs, summary
from benchmarks.peers import METHODS, command, environment
from benchmarks.template import template_row
from regcore.errors import InputError
from regcore.image import Image
from regcore.io.nifti import write_image
from regcore.kernels.parallel import set_threads
from regcore.space import Grid

ROWS = [*PAIRS, "template", "atlas", "fusion"]
USUAL = ["regcore", "greedy", "ants-syn", "ants-quick", "elastix", "dipy"]


def main() -> int:
    """Run the rows that are asked for and print, and keep, their tables."""
    options = _options()
    try:
        data_folder()
        set_threads(options.threads)
        setup = Setup(options.work.resolve(), options.threads, options.repeats)
        if "regcore" in options.methods and not {*options.rows}.isdisjoint({*PAIRS, "fusion"}):
            _compile(options.threads)
        for row in options.rows:
            _publish(row, _measured(row, options, setup), options)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure regcore beside other tools, on the images in the folder REGCORE_DATA. "
        "Every result is kept: a run that was cut off goes on where it stood.",
    )
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (default: the first four)"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=list(METHODS),
        default=USUAL,
        metavar="METHOD",
        help=f"of {', '.join(METHODS)} (default: all but ants-full, which takes minutes a pair)",
    )
    parser.add_argument("--pairs", type=int, help="only the first so many pairs, or targets")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every tool")
    parser.add_argument("--repeats", type=int, default=1, help="times each pair is run; the median counts")
    parser.add_argument(
        "--results", type=Path, help="atlas row: results of the workflow on the folder brains"
    )
    parser.add_argument("--ants-iterations", type=int, default=3, help="template row: of ants.build_template")
    parser.add_argument(
        "--work", type=Path, default=Path("results-benchmarks"), help="where results are kept"
    )
    parser.add_argument("--output", type=Path, help="file to append the tables to, with date and machine")
    options = parser.parse_args()
    options.rows = options.rows or list(PAIRS)
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f"ROW: expected one of {', '.join(ROWS)}, found {unknown[0]}")
    return options


def _measured(row: str, options: argparse.Namespace, setup: Setup) -> pandas.DataFrame:
    if row == "atlas":
        return atlas_row(setup, options.results, options.pairs)
    if row == "template":
        peer = any(name.startswith("ants") for name in options.methods)
        return template_row(setup, options.ants_iterations, peer)
    if row == "fusion":
        return fusion_row(setup, options.methods, options.pairs)
    table = run_pairs(row, pairs(row, options.pairs), options.methods, setup)
    table.to_csv(setup.work / f"{row}.tsv", sep="\t", index=False)
    return summary(table, options.methods)


def _publish(row: str, table: pandas.DataFrame, options: argparse.Namespace) -> None:
    date = datetime.datetime.now(tz=datetime.UTC).date()
    title = f"## {row}\n\n{date}, {_machine()}, {options.threads} threads, median of {options.repeats}\n"
    cells = [list(table.columns), ["---"] * len(table.columns)]
    cells += [["" if pandas.isna(value) else str(value) for value in line] for line in table.to_numpy(object)]
    text = "\n".join([title, *("| " + " | ".join(line) + " |" for line in cells)]) + "\n"
    print("\n" + text, flush=True)
    if options.output is not None:
        with options.output.open("a") as stream:
            stream.write("\n" + text)


def _machine() -> str:
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{name}, {platform.system()}"


def _compile(threads: int) -> None:
    """Let regcore compile its kernels, once a machine, before anything is timed."""
    grid = Grid((32, 32, 32), np.eye(4))
    noise = np.random.default_rng(1).random(grid.shape).astype(np.float32)
    blob = np.exp(-((grid.world_points() - 15.5) ** 2).sum(axis=-1) / 100).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, weight in (("fixed", 0.1), ("moving", 0.2)):
            write_image(folder / f"{file}.nii.gz", Image(blob + np.float32(weight) * noise, grid))
        fixed, moving = folder / "fixed.nii.gz", folder / "moving.nii.gz"
        line = command("regcore", folder, fixed, moving, True, threads)
        measure(line, environment(threads), folder / "log.txt")


if __name__ == "__main__":
    sys.exit(main())
