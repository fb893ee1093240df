"""The workflow on a real SLURM cluster gives the bits of a local run, whatever befalls its jobs and nodes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster, cluster, missing, wait_for
from tests.test_faults import copy_inputs, jobs, remove, same
from tests.test_workflow import ROOT, arguments, snakemake, write_cohort

pytest.importorskip("snakemake_executor_plugin_slurm", reason="a cluster needs the extra 'slurm'")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

CONFIG: dict[str, Any] = {
    "cohort": {"source": "cohort.tsv"},
    "targets": ["template", "population"],
    "batch_size": 1,
    "template": {
        "name": "Tiny",
        "stages": [{"name": "affine", "linear": [{"shrink": [2], "iterations": [5], "rotations_deg": 0}]}],
    },
}
PROFILES = ROOT / "profiles"
STATE = PROFILES / "state.sh"
RULE = "population_batch"
LOST = [f"results/work/population/sub-{member}" for member in "ab"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A cluster of three nodes, which every Snakemake of this module uses."""
    with cluster() as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", started.environment["SLURM_CONF"])
        yield started


@pytest.fixture(autouse=True)
def _all_nodes_idle(nodes: Cluster) -> None:
    for name in set(nodes.names) - set(nodes.nodes):
        nodes.start(name)
    nodes.wait_until_idle()


def test_what_a_job_leaves_behind_ends_with_it(nodes: Cluster, tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    orphan = f"bash -c 'trap \"\" TERM; while true; do sleep 1; done' {mark} &"
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n{orphan}\nsleep 1\n")
    nodes.ask("sbatch", "--wait", "--chdir", str(tmp_path), str(script))
    wait_for(lambda: subprocess.run(["pgrep", "-f", mark], check=False).returncode, 60, "its end")


@pytest.fixture(scope="module")
def undisturbed(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study of two members that was finished on this machine alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_cohort(folder, ["a", "b"])
    run(folder, "--cores", "1")
    return folder


@pytest.fixture
def halfway(undisturbed: Path, tmp_path: Path) -> Path:
    """Copy of the study where the members have to be brought to the template again."""
    folder = tmp_path / "study"
    subprocess.run(["cp", "-a", str(undisturbed), str(folder)], check=True)
    for path in LOST:
        remove(folder / path)
    return folder


def run(folder: Path, *extra: str) -> None:
    """A run that completes."""
    done = snakemake(folder, CONFIG, *extra)
    assert done.returncode == 0, done.stderr[-5000:]


class Running:
    """Snakemake at work on the cluster."""

    def __init__(self, folder: Path, *extra: str, profile: str = "slurm") -> None:
        self.log = folder / "snakemake.log"
        command = arguments(folder, CONFIG, "--profile", str(PROFILES / profile), *extra)
        with self.log.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def completes(self) -> str:
        """What it has said when it has ended without an error."""
        assert self.process.wait(timeout=900) == 0, self.log.read_text()[-5000:]
        return self.log.read_text()


def working(folder: Path, count: int = 1) -> list[int]:
    """Processes of jobs that have begun, once there are so many."""
    wait_for(lambda: len(jobs(folder, RULE)) >= count, 300, f"{count} jobs at work")
    return jobs(folder, RULE)


def node_of(process: int) -> str:
    """Name of the node that a process runs on."""
    words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next(word for word in words if word.startswith(b"SLURMD_NODENAME=")).decode().split("=")[1]


def completed(folder: Path, undisturbed: Path) -> None:
    """The next run, here, leaves the results of the undisturbed one."""
    run(folder, "--cores", "1")
    same(folder, undisturbed)


def test_jobs_are_spread_over_nodes_and_give_the_same_bits(
    nodes: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    copy_inputs(undisturbed, folder)
    with Running(folder) as snakemake:
        snakemake.completes()
    same(folder, undisturbed)
    ours = [job for job in nodes.jobs().values() if job["WorkDir"] == str(folder)]
    assert len({job["NodeList"] for job in ours}) > 1
    assert {job["JobState"] for job in ours} == {"COMPLETED"}
    assert {job["Requeue"] for job in ours} == {"0"}


@pytest.mark.long
def test_a_killed_job_is_tried_again(undisturbed: Path, halfway: Path) -> None:
    with Running(halfway, *LOST) as snakemake:
        os.kill(working(halfway)[0], signal.SIGKILL)
        said = snakemake.completes()
    assert "SLURM status is: 'FAILED'" in said
    completed(halfway, undisturbed)


def test_a_node_that_dies(nodes: Cluster, undisturbed: Path, halfway: Path) -> None:
    with Running(halfway, *LOST) as snakemake:
        nodes.kill(node_of(working(halfway)[0]))
        said = snakemake.completes()
    assert "SLURM status is: 'NODE_FAIL'" in said
    completed(halfway, undisturbed)


@pytest.mark.long
def test_a_killed_daemon_whose_job_lives_on(nodes: Cluster, undisturbed: Path, halfway: Path) -> None:
    """SLURM gives the job up and starts it again elsewhere; the first wakes up afterwards, and writes."""
    with Running(halfway, LOST[0]) as snakemake:
        orphan = working(halfway)[0]
        os.kill(orphan, signal.SIGSTOP)
        name = node_of(orphan)
        os.kill(nodes.daemon(name), signal.SIGKILL)
        said = snakemake.completes()
    assert "SLURM status is: 'NODE_FAIL'" in said
    os.kill(orphan, signal.SIGCONT)
    wait_for(lambda: not jobs(halfway, RULE), 300, "the end of the first job")
    nodes.kill(name)
    completed(halfway, undisturbed)


@pytest.mark.long
def test_a_job_that_takes_too_long_gets_more_time(undisturbed: Path, halfway: Path) -> None:
    minutes = ("--set-resources", f"{RULE}:runtime=attempt")
    with Running(halfway, LOST[0], *minutes) as snakemake:
        os.kill(working(halfway)[0], signal.SIGSTOP)
        said = snakemake.completes()
    assert "SLURM status is: 'TIMEOUT'" in said
    completed(halfway, undisturbed)


def test_a_job_that_takes_too_much_memory_gets_more(undisturbed: Path, halfway: Path) -> None:
    memory = ("--set-resources", f"{RULE}:mem_mb=100*10**(attempt-1)")
    with Running(halfway, LOST[0], *memory) as snakemake:
        said = snakemake.completes()
    assert "Trying to restart job" in said
    logs = (halfway / ".snakemake" / "slurm_logs").rglob("*.log")
    assert any("exceeded memory limit" in log.read_text() for log in logs)
    completed(halfway, undisturbed)


@pytest.mark.long
def test_a_killed_snakemake_whose_jobs_live_on(undisturbed: Path, halfway: Path) -> None:
    with Running(halfway) as snakemake:
        working(halfway, 2)
        snakemake.process.kill()
        snakemake.process.wait()
        # the jobs still write their files while the next run begins
    run(halfway, "--unlock")
    with Running(halfway) as snakemake:
        snakemake.completes()
    same(halfway, undisturbed)


@pytest.mark.long
def test_another_executor_with_sbatch_as_its_command(undisturbed: Path, halfway: Path) -> None:
    """As on PBS and Grid Engine; the status command notices that a job was killed."""
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="it is not installed")
    submit = "sbatch --parsable --no-requeue --output=/dev/null --cpus-per-task={threads}"
    limits = "--mem={resources.mem_mb} --time={resources.runtime}"
    options = {"submit-cmd": f"{submit} {limits}", "status-cmd": STATE, "cancel-cmd": "scancel"}
    words = [word for name, value in options.items() for word in (f"--cluster-generic-{name}", str(value))]
    # the options of the profile for PBS, but for its commands
    generic = Running(halfway, *words, *LOST, profile="pbs")
    with generic as snakemake:
        os.kill(working(halfway)[0], signal.SIGKILL)
        assert "Submitted job" in snakemake.completes()
    completed(halfway, undisturbed)
