"""Large cohorts: batches, planning without opening images, and what jobs take beside what is told before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.cohorts import blobs
from regcore.image import Image
from regcore.io.files import disk_space
from regcore.io.nifti import write_image
from regcore.io.tables import read_yaml
from regcore.registration.settings import RegistrationSettings
from regcore.space import Grid
from regcore.study import Plan
from regcore.study.estimate import estimate, estimate_text, merged
from regcore.study.planning.costs import Cost, registration_microseconds
from regcore.study.tables import collect_runtime
from tests.workflows import ROOT, config_for, snakemake, write_cohort

TRUST = 1.5
# jobs of two or three seconds are seen by few samples of memory and processor, and by hundredths of a second
TINY_TRUST = 2.5
DATA = Path(__file__).with_name("data")


def plan_of_blobs(folder: Path, count: int, **more: object) -> Plan:
    stages = [{"name": "affine", "repeats": 4, "linear": [{"model": "affine"}]}]
    config = {"cohort": {"source": str(blobs(folder, count))}, "template": {"stages": stages}, **more}
    return Plan.from_config(config)


def test_small_cohorts_are_prepared_image_by_image_and_large_ones_in_batches(tmp_path: Path) -> None:
    small, large = plan_of_blobs(tmp_path / "small", 50), plan_of_blobs(tmp_path / "large", 2000)
    assert len(small.prepared_batches) == 50
    assert small.prepared(["sub-00000", "sub-00001"]) == ["prepared/sub-00000", "prepared/sub-00001"]
    assert len(large.batches) == 125
    assert list(large.prepared_batches) == list(large.batches)
    assert large.prepared(large.keys_of("b0003")) == ["prepared/b0003"]
    assert [member.key for member in large.sources("b0001")] == large.keys_of("b0001")
    assert len(large.images_of("b0001")) == 16


def test_pairs_and_targets_of_large_cohorts_make_few_jobs(tmp_path: Path) -> None:
    pairwise = {"reference": "00000", "registration": "affine"}
    plan = plan_of_blobs(tmp_path, 1001, targets=["pairwise"], pairwise=pairwise)
    assert len(plan.pair_batches) == 200


def test_iterations_cost_by_their_voxels_metric_and_channels() -> None:
    def cost(shrink: list[float], iterations: list[int], channels: int = 0, **more: object) -> float:
        deformable = {"shrink": shrink, "iterations": iterations, **more}
        settings = RegistrationSettings.from_dict({"linear": [], "deformable": deformable})
        return registration_microseconds(settings, 1.0, channels)

    assert cost([2], [8]) == pytest.approx(cost([1], [1]))
    assert cost([1], [6], channels=1) == pytest.approx(2 * cost([1], [6]))
    assert cost([1], [6], metric="mind") > cost([1], [6], metric="ssd")


def test_memory_grows_with_images_and_time_with_batches(tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    table = blobs(folder, 8)
    few, many = (plan_of_blobs(folder, 8, batch_size=size).costs for size in (2, 4))
    assert many["register_batch/01_b0001"].seconds > few["register_batch/01_b0001"].seconds
    assert many["register_batch/01_b0001"].memory_mb == few["register_batch/01_b0001"].memory_mb
    write_image(
        table.with_name("blob-0.nii.gz"), Image(np.ones((90, 90, 90), np.float32), Grid((90,) * 3, np.eye(4)))
    )
    larger = plan_of_blobs(folder, 8, batch_size=2).costs
    for job, cost in few.items():
        assert larger[job].memory_mb >= cost.memory_mb, job
        assert larger[job].seconds >= cost.seconds, job


def test_estimate_tells_jobs_hours_memory_and_disk(tmp_path: Path) -> None:
    plan = plan_of_blobs(tmp_path, 12, batch_size=4)
    table = estimate(plan).set_index("rule")
    assert table.loc["register_batch", "jobs"] == 9
    assert table.loc["register_last", "jobs"] == 3
    assert table["jobs"].sum() == len(plan.costs)
    assert f"{len(plan.costs)} jobs" in estimate_text(plan)
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_estimate_of_a_configuration_file(tmp_path: Path) -> None:
    config = {"cohort": {"source": str(blobs(tmp_path, 5))}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "regcore.study.estimate", "config.yaml", str(tmp_path / "study.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "5 images of at most" in done.stdout
    (tmp_path / "study.yaml").write_text("cohort: {source: nowhere}\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.slow
def test_planning_a_thousand_subjects_takes_few_jobs_and_little_memory(tmp_path: Path) -> None:
    from benchmarks.scale import plan_row

    row = plan_row(tmp_path, 1000)
    # a job for every batch and iteration, none for every subject; time is the matter of benchmarks
    assert 300 < row["jobs"] < 1000
    assert row["MiB"] < 1000


@pytest.mark.slow
def test_jobs_take_what_was_told_before(tmp_path: Path) -> None:
    write_cohort(tmp_path, ["a", "b", "c", "d"])
    config = config_for(tmp_path)
    config["template"]["stop_mm"] = 1e-6
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    found = snakemake(tmp_path, config)
    assert found.returncode == 0, found.stderr[-3000:]
    tables = tmp_path / "results" / "tables"
    check_expectations(pd.read_csv(tables / "runtime.tsv", sep="\t"), read_passed(tables), TINY_TRUST)
    assert "core hours (expected" in (tmp_path / "results" / "report.html").read_text()


@pytest.mark.slow
def test_finished_study_took_what_was_told_before() -> None:
    folder = os.environ.get("REGCORE_FINISHED", "")
    if not folder:
        pytest.skip("REGCORE_FINISHED is not set: no results of a study to compare with")
    tables = Path(folder) / "tables"
    check_expectations(pd.read_csv(tables / "runtime.tsv", sep="\t"), read_passed(tables))


def test_heads_took_what_would_have_been_told_before(tmp_path: Path) -> None:
    """Benchmark files of a real run on 24 heads of 2 mm, five of them atlases, 2026-11-22."""
    grid = Grid((120, 120, 90), np.diag([2.0, 2.0, 2.0, 1.0]))
    write_image(tmp_path / "image.nii.gz", Image(np.zeros(grid.shape, np.float32), grid))
    used = pd.read_csv(DATA / "runtime_heads.tsv", sep="\t")
    members = used.loc[used["rule"] == "prepare_batch", "job"]
    rows = [f"{member}\timage.nii.gz\timage.nii.gz" for member in members]
    table = tmp_path / "cohort.tsv"
    table.write_text("\n".join(["participant_id\timage\tlabels", *rows]) + "\n")
    study = {
        "cohort": {"source": str(table)},
        "targets": ["template", "population", "atlas", "tables", "report"],
        "atlas": {"participants": used.loc[used["rule"] == "validate_atlas", "job"].tolist()},
    }
    costs = Plan.from_config(merged(read_yaml(ROOT / "config.yaml"), study)).costs
    expected = [costs[f"{row.rule}/{row.job}"] for row in used.itertuples()]
    used["expected_memory_mb"] = [cost.memory_mb for cost in expected]
    used["expected_cpu_seconds"] = [cost.seconds for cost in expected]
    check_expectations(used, set())


def read_passed(tables: Path) -> set[str]:
    """Iterations that had nothing to do, since their stage had stopped."""
    table = pd.read_csv(tables / "convergence.tsv", sep="\t")
    return {f"{number:02d}" for number in table.loc[table["passed_through"].astype(bool), "iteration"]}


def check_expectations(table: pd.DataFrame, passed: set[str], trust: float = TRUST) -> None:
    """Refuse jobs outside this factor of what was expected of them.

    Memory is compared as it is. Processors differ in speed, so times are compared but for the factor that all
    jobs share. Left out are iterations that had nothing to do, and the compiler.
    """
    iterated = table["rule"].str.contains("register_|gather_") & table["job"].astype(str).str[:2].isin(passed)
    table = table[(table["rule"] != "warm_cache") & ~iterated].dropna()
    assert len(table) > 10
    memory = table["expected_memory_mb"] / table["memory_mb"]
    seconds = table["expected_cpu_seconds"] / table["cpu_seconds"]
    seconds /= seconds.median()
    for ratio in (memory, seconds):
        wrong = table[(ratio > trust) | (ratio < 1 / trust)]
        assert len(wrong) <= 0.05 * len(table), wrong.to_string()


def test_files_of_jobs_that_the_study_no_longer_has_are_left_out_of_its_run_times(tmp_path: Path) -> None:
    for job in ("sub-a", "sub-gone"):
        file = tmp_path / "benchmarks" / "prepare_batch" / f"{job}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("s\tmax_rss\tcpu_time\n2.5\t100.0\t1.5\n")
    collect_runtime(tmp_path, tmp_path / "runtime.tsv", {"prepare_batch/sub-a": Cost(2.0, 120.0)})
    (row,) = pd.read_csv(tmp_path / "runtime.tsv", sep="\t").to_dict("records")
    assert (row["job"], row["seconds"], row["cpu_seconds"]) == ("sub-a", 2.5, 1.5)
    assert row["memory_mb"] == pytest.approx(104.86, abs=0.01)
    assert (row["expected_memory_mb"], row["expected_cpu_seconds"]) == (120.0, 2.0)


def test_disk_space_counts_every_file_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10_000))
    once = disk_space(tmp_path)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert disk_space(tmp_path) == once >= 10_000
