"""``python -m tests.soak --hours 2``: builds on a simulated cluster, one after the other, faults at random.

Every build has to end with the bits of an undisturbed one, and may leave no process, job or file behind.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from regcore import __version__
from tests.cluster import Cluster, cluster, missing, wait_for
from tests.test_cluster import CONFIG, PROFILES
from tests.test_faults import flip, inputs, remove
from tests.test_workflow import arguments, digests, snakemake, write_cohort

MEMBERS = ["a", "b", "c"]
PAUSE_S = (5.0, 40.0)
"""Between two faults."""
PUBLISHED = "results/tpl-Tiny"
BEGINNINGS = [
    ["results", ".snakemake"],
    ["results"],
    ["results/work/prepared", "results/work/register", "results/work/population", PUBLISHED],
    ["results/work/template", "results/work/population/sub-c", "results/qc.tsv", PUBLISHED],
    ["results/work/population", PUBLISHED],
    ["results/work/prepared/sub-a", "results/work/population/sub-a", PUBLISHED],
]
"""What was lost of a finished study: all of it, or what is published and some of what it is made from."""
STARTS_WITH_FAULTS = 4
STARTS = 12
TEMPORARY = f".{'[0-9a-f]' * 12}.*"
"""Names of files that are being written."""
REPORT = Path(__file__).parents[1] / "docs" / "soak.md"


@dataclass
class Build:
    """A study on its way."""

    folder: Path
    nodes: Cluster
    process: subprocess.Popen[bytes]
    chance: random.Random
    memory_mb: float = 0
    starts: int = 1
    faults: list[str] = field(default_factory=list)


def processes(folder: Path) -> list[int]:
    """Processes that work on a study."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def scripts(build: Build) -> list[int]:
    """Processes that run a script of the workflow."""
    folder = str(build.folder / ".snakemake" / "scripts").encode()
    return [
        process
        for process in processes(build.folder)
        if folder in _command(process) and process != os.getpid()
    ]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def kill_job(build: Build) -> bool:
    """SIGKILL to the script of a job."""
    running = scripts(build)
    if running:
        os.kill(build.chance.choice(running), signal.SIGKILL)
    return bool(running)


def cancel_job(build: Build) -> bool:
    """A job is cancelled by hand."""
    running = [number for number, job in build.nodes.jobs().items() if job["JobState"] == "RUNNING"]
    if running:
        build.nodes.ask("scancel", build.chance.choice(running))
    return bool(running)


def kill_node(build: Build) -> bool:
    """A node dies with all that runs on it, and is switched on again."""
    name = build.chance.choice(build.nodes.names)
    build.nodes.kill(name)
    time.sleep(build.chance.uniform(0, 30))
    build.nodes.start(name)
    return True


def kill_daemon(build: Build) -> bool:
    """The daemon of a node dies, its jobs live on for a while."""
    name = build.chance.choice(build.nodes.names)
    os.kill(build.nodes.daemon(name), signal.SIGKILL)
    time.sleep(build.chance.uniform(0, 30))
    build.nodes.kill(name)
    build.nodes.start(name)
    return True


def switch_node_off(build: Build) -> bool:
    """An operator takes a node out, and back."""
    name = build.chance.choice(build.nodes.names)
    build.nodes.ask("scontrol", "update", f"nodename={name}", "state=down", "reason=soak")
    time.sleep(build.chance.uniform(0, 10))
    build.nodes.ask("scontrol", "update", f"nodename={name}", "state=resume")
    return True


def kill_snakemake(build: Build) -> bool:
    """SIGKILL to Snakemake, whose jobs live on."""
    build.process.kill()
    return True


def interrupt_snakemake(build: Build) -> bool:
    """What Ctrl-C does."""
    build.process.send_signal(signal.SIGINT)
    return True


def damage_file(build: Build) -> bool:
    """A bit of an intermediate file flips."""
    work = build.folder / "results" / "work"
    written = [
        file
        for file in work.rglob("*")
        if file.suffix in (".h5", ".nii", ".gz", ".npz") and file.stat().st_size
    ]
    if written:
        flip(build.chance.choice(sorted(written)))
    return bool(written)


FAULTS: list[Callable[[Build], bool]] = [
    kill_job, cancel_job, kill_node, kill_daemon, switch_node_off,
    kill_snakemake, interrupt_snakemake, damage_file,
]  # fmt: skip


def start(folder: Path, nodes: Cluster) -> subprocess.Popen[bytes]:
    """Snakemake at work on the cluster."""
    command = arguments(folder, CONFIG, "--profile", str(PROFILES / "slurm"))
    with (folder / "snakemake.log").open("ab") as log:
        return subprocess.Popen(
            command, env=nodes.environment, stdout=log, stderr=log, start_new_session=True
        )


def finish(build: Build) -> None:
    """Strike until the build is complete; start it again as a user would."""
    strike = time.monotonic() + build.chance.uniform(*PAUSE_S)
    while True:
        code = build.process.poll()
        if code == 0:
            return
        if code is not None:
            if build.starts == STARTS:
                raise RuntimeError(f"not complete after {STARTS} starts")
            snakemake(build.folder, CONFIG, "--unlock")
            build.process, build.starts = start(build.folder, build.nodes), build.starts + 1
        build.memory_mb = max(build.memory_mb, _memory_mb(build.process.pid))
        if time.monotonic() > strike and build.starts <= STARTS_WITH_FAULTS:
            fault = build.chance.choice(FAULTS)
            try:
                if fault(build):
                    build.faults.append(fault.__name__)
            except (OSError, RuntimeError, StopIteration):
                pass  # what it was aimed at has just gone
            strike = time.monotonic() + build.chance.uniform(*PAUSE_S)
        time.sleep(0.5)


def _memory_mb(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM")), 0)


def left_over(build: Build, truth: Path) -> list[str]:
    """What is wrong with a build that says it is complete."""
    problems = []
    for name in set(build.nodes.names) - set(build.nodes.nodes):
        build.nodes.start(name)
    try:
        # jobs of a Snakemake that was killed come to their end by themselves
        build.nodes.wait_until_idle(900)
        wait_for(lambda: not processes(build.folder), 60, "the end of all processes")
    except TimeoutError as error:
        problems.append(f"{error}: {[_command(process)[:80] for process in processes(build.folder)]}")
    if inputs(build.folder) != inputs(truth):
        problems.append("inputs were changed")
    found, expected = digests(build.folder / "results"), digests(truth / "results")
    if found != expected:
        differing = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        problems.append(f"other results: {differing[:5]}")
    half = [str(file) for file in (build.folder / "results").rglob(TEMPORARY)]
    return [*problems, *([f"files left behind: {half[:5]}"] if half else [])]


def soak(hours: float, seed: int) -> tuple[list[tuple[Build, float, list[str]]], float]:
    """All builds with their durations and problems, and how many hours it took."""
    chance, builds = random.Random(seed), []  # noqa: S311
    with tempfile.TemporaryDirectory(prefix="regcore-soak-") as name, cluster() as nodes:
        root = Path(name)
        truth = root / "truth"
        truth.mkdir()
        write_cohort(truth, MEMBERS)
        done = snakemake(truth, CONFIG, "--cores", "1")
        assert done.returncode == 0, done.stderr
        began = time.monotonic()
        while time.monotonic() - began < 3600 * hours:
            folder, started = root / f"build{len(builds)}", time.monotonic()
            subprocess.run(["cp", "-a", str(truth), str(folder)], check=True)
            for lost in chance.choice(BEGINNINGS):
                remove(folder / lost)
            build = Build(folder, nodes, start(folder, nodes), chance)
            problems = []
            try:
                finish(build)
            except RuntimeError as error:
                problems.append(str(error))
            problems += left_over(build, truth)
            builds.append((build, time.monotonic() - started, problems))
            struck = ", ".join(build.faults) or "none"
            print(
                f"build {len(builds)}: {builds[-1][1]:.0f} s, {build.starts} starts, faults: {struck}",
                flush=True,
            )
            for problem in problems:
                print(f"    FAILED: {problem}", flush=True)
            if problems:
                shutil.copy2(folder / "snakemake.log", f"soak-build{len(builds)}.log")
            shutil.rmtree(folder)
        took = (time.monotonic() - began) / 3600
    return builds, took


def report(builds: list[tuple[Build, float, list[str]]], hours: float, asked: float) -> str:
    """The result as a page."""
    counts = collections.Counter(fault for build, _, _ in builds for fault in build.faults)
    docs = {fault.__name__: str(fault.__doc__).rstrip(".") for fault in FAULTS}
    rows = "\n".join(f"| {docs[name]} | {counts[name]} |" for name in docs)
    memory = [build.memory_mb for build, _, _ in builds]
    quarter = max(len(memory) // 4, 1)
    failed = [problem for _, _, problems in builds for problem in problems]
    first, last = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
    lines = {
        "complete builds": f"{sum(not problems for _, _, problems in builds)} of {len(builds)}",
        "seconds a build, median": f"{statistics.median(took for _, took, _ in builds):.0f}",
        "starts a build, most": f"{max(build.starts for build, _, _ in builds)}",
        "faults": f"{counts.total()}",
        "peak memory of Snakemake, first and last quarter of the builds": f"{first:.0f} MB, {last:.0f} MB",
        "other bits, changed inputs, processes or files left behind": f"{len(failed)}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in lines.items())
    return f"""# Soak test: last result

`python -m tests.soak --hours {asked:g}`, {time.strftime("%Y-%m-%d")}, regcore {__version__}: ran for
**{60 * hours:.0f} minutes** on a simulated SLURM cluster of three nodes on one machine with {os.cpu_count()}
processors. Studies of {len(MEMBERS)} made members were built one after the other, some from nothing, some
where a part of the work was lost. Faults struck every {PAUSE_S[0]:.0f} to {PAUSE_S[1]:.0f} s in the first
{STARTS_WITH_FAULTS} starts of each; a build that ended in an error was started again, as a user would.

| | |
|---|---|
{table}

| fault | times |
|---|---|
{rows}
""" + "".join(f"\n- {problem}" for problem in failed)


def main() -> int:
    """Soak and write the result; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=REPORT)
    given = parser.parse_args()
    if reason := missing():
        print(reason)
        return 1
    builds, hours = soak(given.hours, given.seed)
    given.report.write_text(report(builds, hours, given.hours))
    return int(any(problems for _, _, problems in builds))


if __name__ == "__main__":
    sys.exit(main())
