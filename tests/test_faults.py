"""What goes wrong around a run: after each fault the next start gives the bits of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.workflows import ROOT, arguments, digests, planned, snakemake, write_cohort

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")

MEMBERS = ["a", "b", "c"]
CONFIG: dict[str, Any] = {
    "cohort": {"source": "cohort.tsv"},
    "targets": ["template", "population", "tables", "report"],
    "batch_size": 2,
    "tables": {"surface_distances": False},
    "template": {
        "name": "Tiny",
        "stages": [
            {"name": "affine", "linear": [{"shrink": [2], "iterations": [5], "rotations_deg": 0}]},
            {"name": "deformable", "deformable": {"shrink": [2], "iterations": [5]}},
        ],
    },
}
HOSTILE = "a b;touch PWNED;$(touch PWNED)`touch PWNED`'\"&|<>*?#%~é名"
ONE_CORE = ("--cores", "1")
LONG = pytest.mark.long


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished study of three members."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_cohort(folder, MEMBERS)
    run(folder)
    return folder


@pytest.fixture
def finished(undisturbed: Path, tmp_path: Path) -> Path:
    """Copy of the finished study, with all times and with what Snakemake knows of it."""
    folder = tmp_path / "study"
    subprocess.run(["cp", "-a", str(undisturbed), str(folder)], check=True)
    return folder


@pytest.fixture
def cohort(undisturbed: Path, tmp_path: Path) -> Path:
    """Only the inputs of the study."""
    folder = tmp_path / "study"
    copy_inputs(undisturbed, folder)
    return folder


def copy_inputs(source: Path, folder: Path) -> None:
    """The table and its images."""
    folder.mkdir(parents=True)
    for file in [source / "cohort.tsv", *source.glob("*.nii.gz")]:
        shutil.copy2(file, folder)


def run(folder: Path, **more: Any) -> None:
    """A run that completes."""
    done = snakemake(folder, CONFIG | more, *ONE_CORE)
    assert done.returncode == 0, done.stderr[-3000:]


def failing(folder: Path, **more: Any) -> str:
    """What a run that cannot complete says."""
    done = snakemake(folder, CONFIG | more, *ONE_CORE)
    assert done.returncode != 0
    return done.stdout + done.stderr


def inputs(folder: Path) -> dict[str, bytes]:
    """What the user owns."""
    return {
        file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix in (".tsv", ".gz")
    }


def same(folder: Path, undisturbed: Path) -> None:
    """Inputs and outputs are those of the undisturbed run."""
    assert inputs(folder) == inputs(undisturbed)
    assert digests(folder / "results") == digests(undisturbed / "results")


def flip(path: Path) -> None:
    """One bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    """The first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "damaged", "lost"),
    [
        (flip, "results/work/register/02/b0001/sub-a_xfm.h5", "results/work/population/b0001"),
        pytest.param(
            truncate,
            "results/work/prepared/sub-b/sub-b_image.nii.gz",
            "results/work/population/b0001",
            marks=LONG,
        ),
        (flip, "results/work/template/02/template.nii.gz", "results/work/population/b0002"),
        pytest.param(
            truncate,
            "results/work/population/b0001/partial_sum.npz.gz",
            "results/tpl-Tiny/template_description.json",
            marks=LONG,
        ),
        (
            truncate,
            "results/sub-a/anat/sub-a_from-T1w_to-Tiny_mode-image_xfm.h5",
            # only its table reads this folder: while the table is there, Snakemake does not miss it
            "results/work/influence results/tables/influence.tsv",
        ),
    ],
)
def test_a_damaged_file_is_noticed_and_made_again(
    undisturbed: Path, finished: Path, damage: Callable[[Path], None], damaged: str, lost: str
) -> None:
    damage(finished / damaged)
    # something that reads the file has to be made again
    for path in lost.split():
        remove(finished / path)
    said = failing(finished)
    assert "expected the bytes that were written, found others (damaged)" in said
    assert "start again to have it made anew" in said
    run(finished)
    same(finished, undisturbed)


def remove(path: Path) -> None:
    """A file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def running(folder: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake at work; whatever is left of it at the end is ended."""
    command = arguments(folder, CONFIG | more, *ONE_CORE)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, start_new_session=True, **quiet) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object], seconds: float = 900) -> object:
    """What a condition gives once it gives anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("waited too long")


def jobs(folder: Path, rule: str) -> list[int]:
    """Processes that run a script of a rule in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(str(folder)) and word.endswith(f".{rule}.py") for word in words):
            found.append(int(entry.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        pytest.param("prepare_batch", marks=LONG),
        "register_batch",
        pytest.param("population_batch", marks=LONG),
    ],
)
def test_a_killed_job(undisturbed: Path, cohort: Path, rule: str) -> None:
    with running(cohort) as process:
        killed = wait_for(lambda: jobs(cohort, rule))
        assert isinstance(killed, list)
        os.kill(killed[0], signal.SIGKILL)
        assert process.wait(timeout=900) != 0
    run(cohort)
    same(cohort, undisturbed)


@pytest.mark.slow
def test_a_killed_snakemake_whose_job_lives_on(undisturbed: Path, cohort: Path) -> None:
    with running(cohort) as process:
        orphans = wait_for(lambda: jobs(cohort, "register_batch"))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # the job still writes its files while the next run begins
        snakemake(cohort, CONFIG, "--unlock")
        run(cohort)
    assert isinstance(orphans, list)
    wait_for(lambda: not jobs(cohort, "register_batch"))
    same(cohort, undisturbed)


@pytest.mark.slow
def test_two_runs_in_one_folder(undisturbed: Path, cohort: Path) -> None:
    with running(cohort) as process:
        wait_for(lambda: jobs(cohort, "prepare_batch"))
        assert "LockException" in failing(cohort)
        assert process.wait(timeout=1800) == 0
    same(cohort, undisturbed)


@pytest.mark.slow
def test_an_input_that_is_replaced_during_the_run(undisturbed: Path, cohort: Path) -> None:
    original = (cohort / "a.nii.gz").read_bytes()
    with running(cohort) as process:
        wait_for(lambda: jobs(cohort, "register_batch"))
        shutil.copyfile(cohort / "c.nii.gz", cohort / "a.nii.gz")
        process.wait(timeout=1800)
    # who puts the right image back gets the right results
    (cohort / "a.nii.gz").write_bytes(original)
    run(cohort)
    same(cohort, undisturbed)


@pytest.mark.slow
def test_a_clock_that_is_wrong(undisturbed: Path, finished: Path) -> None:
    tomorrow = time.time() + 86400
    os.utime(finished / "b.nii.gz", (tomorrow, tomorrow))
    run(finished)
    same(finished, undisturbed)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[str], None]]:
    """A file system of its own below a folder; gives a function that changes its options."""
    folder.mkdir(parents=True)
    options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        yield (
            lambda change: (
                subprocess.run(  # type: ignore[func-returns-value]
                    ["mount", "-o", f"remount,{change}", str(folder)],
                    check=True,
                )
                and None
            )
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk(undisturbed: Path, cohort: Path) -> None:
    with small_disk(cohort / "results", 1) as remount:
        said = failing(cohort)
        assert "No space left on device" in said
        remount("size=64m")
        run(cohort)
        same(cohort, undisturbed)


@pytest.mark.slow
def test_results_that_cannot_be_written(undisturbed: Path, cohort: Path) -> None:
    with small_disk(cohort / "results", 64) as remount:
        remount("ro")
        assert "Read-only file system" in failing(cohort)
        remount("rw")
        run(cohort)
        same(cohort, undisturbed)


@pytest.mark.slow
def test_names_that_a_shell_would_read(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE
    copy_inputs(undisturbed, folder)
    results = f"{HOSTILE}/{'long' * 50}/results"
    run(folder, results=results)
    assert digests(folder / results) == digests(undisturbed / "results")
    assert inputs(folder) == inputs(undisturbed)
    assert not list(tmp_path.rglob("PWNED"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"results": "x" * 100_000}, "config results: expected a path of at most 4000 characters"),
        ({"results": "a{b}c"}, "config results: expected a path of at most 4000 characters without braces"),
        ({"results": "a\nb"}, "config results: expected a path of at most 4000 characters"),
        ({"cohort": {"source": "x" * 100_000}}, "expected a BIDS folder or a table, found nothing there"),
    ],
)
def test_impossible_paths_are_refused_in_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_cohort(tmp_path, MEMBERS[:1])
    said = failing(tmp_path, **change)
    assert message in said
    assert "Traceback" not in said
    assert len(said) < 5000
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.is_dir()) in ([], [".snakemake"])


@pytest.mark.slow
def test_results_of_another_version_are_made_again(finished: Path, tmp_path: Path) -> None:
    source = tmp_path / "newer"
    for name in ("Snakefile", "config.yaml"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    for name in ("rules", "scripts", "regcore"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    package = source / "regcore" / "__init__.py"
    package.write_text(package.read_text().replace('__version__ = "', '__version__ = "99.'))
    command = [
        str(source / "Snakefile") if "Snakefile" in word else word for word in arguments(finished, CONFIG)
    ]
    dry = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr[-2000:]
    for rule in ("prepare_batch", "register_last", "gather_template", "population_batch", "make_report"):
        assert f"rule {rule}:" in dry.stdout + dry.stderr
    assert planned(finished, CONFIG) == {}


def test_a_dry_run_with_names_that_a_shell_or_snakemake_would_read(tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    for name in ("a%s*.nii", "$(touch PWNED).nii", "a{b}.nii", "names{x}.tsv"):
        (folder / name).write_bytes(b"index\tname\n1\tx\n")
    rows = ["participant_id\timage\tlabels", "1\ta%s*.nii\ta%s*.nii", "2\t$(touch PWNED).nii\ta%s*.nii"]
    (folder / "{cohort} `touch PWNED`.tsv").write_text("\n".join(rows) + "\n")
    config = CONFIG | {
        "cohort": {
            "source": str(folder / "{cohort} `touch PWNED`.tsv"),
            "label_names": str(folder / "names{x}.tsv"),
        },
        "targets": ["template", "population", "atlas", "pairwise", "tables", "report"],
        "atlas": {"participants": ["1", "2"], "include_atlases": True},
        "pairwise": {"reference": str(folder / "$(touch PWNED).nii")},
        "report": {"title": "{title} <script> $(touch PWNED)"},
    }
    counts = planned(tmp_path, config)
    assert (counts["prepare_batch"], counts["pairwise_batch"]) == (2, 1)
    (folder / "braces.tsv").write_text(f"{rows[0]}\n1\ta{{b}}.nii\tn/a\n")
    said = failing(tmp_path, cohort={"source": str(folder / "braces.tsv")})
    assert "a{b}.nii: expected a path without braces" in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("PWNED"))
