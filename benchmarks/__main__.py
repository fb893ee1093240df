"""Measure regcore beside other tools: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path

import pandas

from benchmarks.atlas import atlas_row
from benchmarks.data import ROWS, data_folder, pairs
from benchmarks.fusion import FUSION, fusion_row
from benchmarks.made import small_pair
from benchmarks.measure import measure
from benchmarks.methods import METHODS, ROOT, command, environment
from benchmarks.morphometry import STUDIES, morphometry_rows
from benchmarks.pairwise import Setup, kept_results, machine, newest_mark, run_pairs, source_mark
from benchmarks.peers import Job
from benchmarks.studies import study_results
from benchmarks.tables import markdown, replace_sections, section
from benchmarks.template import template_row
from regcore.errors import InputError
from regcore.kernels.parallel import set_threads

WHOLE = ["template", "atlas", "fusion", "morphometry"]
USUAL = [*ROWS, "summary"]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
PICTURE = ROOT / "docs" / "images" / "benchmarks.png"


def main() -> int:
    """Run the rows that are asked for, keep what is found, and print their tables."""
    options = _options()
    try:
        data_folder()
        set_threads(options.threads)
        setup = Setup(options.work.resolve(), options.threads, options.repeats, options.timed)
        if "regcore" in options.methods:
            rows = {**ROWS, "fusion": FUSION}
            _compile({rows[name].preset for name in options.rows if name in rows}, setup)
        for name in options.rows:
            if name in ROWS:
                row = ROWS[name]
                chosen = pairs(row, setup.made, options.pairs)
                run_pairs(row, chosen, options.methods, setup)
                print("\n" + section(row, kept_results(row, chosen, options.methods, setup, source_mark())))
            elif name in WHOLE:
                _print_whole(name, options, setup)
        if "summary" in options.rows:
            _summarise(setup)
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
    known = [*ROWS, *WHOLE, "summary"]
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"of {', '.join(known)}; summary, which comes last, puts all that is kept of the pairs into "
        f"benchmarks/{RESULTS.name} and draws docs/images/{PICTURE.name} (default: {', '.join(USUAL)})",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=list(METHODS),
        default=list(METHODS),
        metavar="METHOD",
        help=f"of {', '.join(METHODS)} (default: all; ants-full and dipy, minutes a pair, on a few)",
    )
    parser.add_argument("--pairs", type=int, help="only the first so many pairs, or targets")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every tool")
    parser.add_argument(
        "--timed",
        type=int,
        help="take times on the first so many pairs alone (default: on all); 0, on a machine that does other "
        "things too, takes none: what is scored then stays, and times can be taken later",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        help="times each pair is timed, slow tools once; the median counts (default: what the row has)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="atlas and morphometry rows: results of the workflow with brains.yaml (default: made)",
    )
    parser.add_argument(
        "--studies",
        nargs="+",
        choices=STUDIES,
        default=STUDIES,
        help="morphometry row: which (default: both)",
    )
    parser.add_argument("--ants-iterations", type=int, default=3, help="template row: of ants.build_template")
    parser.add_argument(
        "--work", type=Path, default=Path("results-benchmarks"), help="where results are kept"
    )
    options = parser.parse_args()
    options.rows = options.rows or USUAL
    unknown = [row for row in options.rows if row not in known]
    if unknown:
        parser.error(f"ROW: expected one of {', '.join(known)}, found {unknown[0]}")
    return options


def _print_whole(name: str, options: argparse.Namespace, setup: Setup) -> None:
    if name == "morphometry":
        for title, table in morphometry_rows(setup, options.results, tuple(options.studies)).items():
            print(f"\n### {title}\n\n{markdown(table)}\n", flush=True)
        return
    if name == "atlas":
        table = atlas_row(setup, options.results or study_results("brains", setup), options.pairs)
    elif name == "fusion":
        table = fusion_row(setup, options.methods, options.pairs)
    else:
        peer = any(method.startswith("ants") for method in options.methods)
        table = template_row(setup, options.ants_iterations, peer)
    date = datetime.datetime.now(tz=datetime.UTC).date()
    print(f"\n## {name}\n\n{date}, {machine()}, {options.threads} threads\n\n{markdown(table)}\n", flush=True)


def _summarise(setup: Setup) -> None:
    from benchmarks.plot import draw

    results: dict[str, pandas.DataFrame] = {}
    for name, row in ROWS.items():
        if not (setup.work / name).exists():
            continue
        table = kept_results(row, pairs(row, setup.made), list(METHODS), setup, newest_mark(row, setup))
        if len(table):
            results[name] = table
    replace_sections(RESULTS, {name: section(ROWS[name], table) for name, table in results.items()})
    draw({name: (ROWS[name], table) for name, table in results.items()}, PICTURE)
    print(f"{RESULTS}\n{PICTURE}")


def _compile(presets: set[str], setup: Setup) -> None:
    """Let regcore compile its kernels, once a machine, before anything is timed."""
    pair, folder = small_pair(setup.made / "startup"), setup.work / "compile"
    folder.mkdir(parents=True, exist_ok=True)
    for preset in sorted(presets):
        job = Job(str(folder), str(pair.fixed.image), str(pair.moving.image), "full", setup.threads)
        measure(command("regcore", job, preset), environment(setup.threads), folder / "log.txt")


if __name__ == "__main__":
    sys.exit(main())
