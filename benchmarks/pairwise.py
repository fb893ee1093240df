"""Pairs of images, registered with every method; whatever is found is kept.

A result is scored once and its score kept, whatever the number of threads. Times are another matter: those
that are compared have to be taken one after another on a machine that does nothing else. So they are kept
apart, in a folder for one number of threads and one state of regcore's sources, and each repeat runs all
methods before the next one begins. A run that was cut off resumes either.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from benchmarks.data import Pair, Row
from benchmarks.measure import measure
from benchmarks.methods import METHODS, ROOT, command, environment, is_installed, version
from benchmarks.peers import Job
from benchmarks.reading import engine_seconds, read_result
from benchmarks.score import score
from regcore.errors import InputError
from regcore.io.tables import read_json, write_json

COSTS = ("engine_s", "wall_s", "cpu_s", "memory_mib")


@dataclass(frozen=True)
class Setup:
    """How registrations are run.

    Parameters
    ----------
    work : Path
        Folder of all that is kept.
    threads : int
        Of every tool.
    repeats : int, optional
        How often each method is timed on a pair; by default as often as the row says.
    timed : int, optional
        On how many pairs of a row times are taken; on all by default.
    """

    work: Path
    threads: int
    repeats: int | None = None
    timed: int | None = None

    @property
    def made(self) -> Path:
        """Folder of the images that are made."""
        return self.work / "made"


def run_pairs(row: Row, pairs: Sequence[Pair], methods: Sequence[str], setup: Setup) -> None:
    """Register pairs with every method that is installed, as far as results are not kept already."""
    timed = len(pairs) if setup.timed is None else setup.timed
    repeats = row.repeats if setup.repeats is None else setup.repeats
    for number, pair in enumerate(pairs):
        usable = [name for name in methods if is_installed(name) and METHODS[name].takes(row.name, number)]
        for repeat in range(repeats if number < timed else 0):
            for name in [name for name in usable if METHODS[name].is_timed(number, repeat)]:
                if _times_file(row, pair, name, setup, source_mark(), repeat).exists():
                    continue
                if "failure" in run_pair(row, pair, name, setup, repeat):
                    usable.remove(name)
        for name in usable:
            run_pair(row, pair, name, setup)


def run_pair(row: Row, pair: Pair, name: str, setup: Setup, repeat: int | None = None) -> dict[str, Any]:
    """Score of one method on one pair: what is kept, or that of a registration that is run now.

    Parameters
    ----------
    row : Row
    pair : Pair
    name : str
        Method.
    setup : Setup
    repeat : int, optional
        Number of a timed run; it is run whether or not a score is kept, and its cost is kept.

    Returns
    -------
    dict
        As `score` and `Cost` have it, with ``engine_s`` (see `engine_seconds`) and how it was run; or
        ``failure`` with the reason. The moving labels are kept in the file that `labels_file` names.
    """
    kept = score_file(row, pair, name, setup, source_mark())
    known = dict(read_json(kept)) if kept.exists() else {}
    # what failed is tried again
    scored = bool(known) and "failure" not in known
    if scored and repeat is None:
        return known
    folder = kept.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    masks = [str(subject.mask) if subject.mask else None for subject in (pair.fixed, pair.moving)]
    job = Job(str(folder), str(pair.fixed.image), str(pair.moving.image), row.task, setup.threads, *masks)
    try:
        log = kept.with_suffix(".log")
        cost = asdict(measure(command(name, job, row.preset), environment(setup.threads), log))
        engine = METHODS[name].engine
        if repeat is not None and engine is not None:
            measure(
                command(engine, job, row.preset), environment(setup.threads), log.with_suffix(".engine.log")
            )
        cost |= {"engine_s": engine_seconds(name, job), **_circumstances(row, name, setup)}
        if not scored:
            labels = labels_file(row, pair, name, setup)
            known = {**score(pair, *read_result(name, job), row.task == "rigid", labels), **cost}
            write_json(kept, known)
        if repeat is not None:
            write_json(_times_file(row, pair, name, setup, source_mark(), repeat), cost)
    except (InputError, RuntimeError) as error:
        known, cost = {"failure": str(error), **_circumstances(row, name, setup)}, {}
        write_json(kept, known)
    shutil.rmtree(folder)
    shown = {**known, **cost}
    figures = ", ".join(f"{key} {value:.4g}" for key, value in shown.items() if isinstance(value, float))
    print(f"{row.name} {pair.name} {name}: {figures or known}", flush=True)
    return known


def kept_results(
    row: Row, pairs: Sequence[Pair], methods: Sequence[str], setup: Setup, mark: str
) -> pandas.DataFrame:
    """What is kept of a row.

    Returns
    -------
    DataFrame
        A row a pair and method: ``pair, method``, then what `run_pair` returns. Where there are timed runs
        their medians stand in place of the costs, and ``runs`` is their number, else 0.
    """
    rows = []
    for pair in pairs:
        for name in methods:
            kept = score_file(row, pair, name, setup, mark)
            if not kept.exists():
                continue
            result = {"pair": pair.name, "method": name, "runs": 0, **read_json(kept)}
            files = sorted(_times_file(row, pair, name, setup, mark, 0).parent.glob(f"{name}_run-*.json"))
            if files:
                times = pandas.DataFrame([read_json(file) for file in files])
                last = read_json(files[-1])
                result |= {"runs": len(files), "date": last["date"], "machine": last["machine"]}
                result |= {"threads": setup.threads, **times[list(COSTS)].median().to_dict()}
            rows.append(result)
    table = pandas.DataFrame(rows)
    missing = [name for name in ("pair", "method", "runs", *COSTS) if name not in table]
    return table.assign(**dict.fromkeys(missing, np.nan))


def newest_mark(row: Row, setup: Setup) -> str:
    """Mark of the sources of regcore that a row was run with last, or of the present ones."""
    files = (setup.work / row.name).glob(f"*/regcore-{row.preset}-*.json")
    # beside a score lies what it cost, in a file of a longer name
    scores = [file for file in files if "." not in file.stem]
    newest = max(scores, key=lambda file: file.stat().st_mtime, default=None)
    return source_mark() if newest is None else newest.stem.rpartition("-")[2]


def labels_file(row: Row, pair: Pair, name: str, setup: Setup) -> Path:
    """Where the labels of the moving image on the fixed grid are kept."""
    return score_file(row, pair, name, setup, source_mark()).with_suffix(".nii.gz")


def score_file(row: Row, pair: Pair, name: str, setup: Setup, mark: str) -> Path:
    """Where the score of a method on a pair is kept."""
    stem = f"regcore-{row.preset}-{mark}" if name == "regcore" else name
    return setup.work / row.name / pair.name / f"{stem}.json"


@functools.cache
def source_mark() -> str:
    """Mark of regcore's sources: what was measured with others is not its result."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted((ROOT / "regcore").rglob("*")):
        if path.suffix in (".py", ".yaml"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def settings_of(row: Row, name: str) -> str:
    """How a method is run on a row, in words."""
    words = METHODS[name].settings[row.task]
    return f"preset {row.preset}{words}" if name == "regcore" else words


def machine() -> str:
    """Processor and system, in words."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{name}, {platform.system()}"


def _circumstances(row: Row, name: str, setup: Setup) -> Mapping[str, Any]:
    return {
        "version": version(name),
        "settings": settings_of(row, name),
        "threads": setup.threads,
        "date": str(datetime.datetime.now(tz=datetime.UTC).date()),
        "machine": machine(),
    }


def _times_file(row: Row, pair: Pair, name: str, setup: Setup, mark: str, repeat: int) -> Path:
    session = f"times_threads-{setup.threads}_{mark}"
    return setup.work / row.name / pair.name / session / f"{name}_run-{repeat}.json"
