"""The whole workflow: what is refused, what is published, what runs again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from regcore.io.nifti import read_image
from tests.browsing import look_through
from tests.workflows import ROOT, arguments, config_for, digests, planned, snakemake, write_cohort

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thread": 2}, "config thread: expected a known key (did you mean threads?), found an unknown one"),
        ({"atlas": {"participants": ["z"]}}, "expected a participant of the cohort, found 'z'"),
        (
            {"targets": ["statistics"], "statistics": {"designs": {"a": {"formula": "logjac ~ open(age)"}}}},
            "config statistics.designs.a.formula: expected +, : or * after 'logjac ~ open', found '(age)'",
        ),
        (
            {"targets": ["statistics"], "statistics": {"designs": {"a": {"formula": "logjac ~ age"}}}},
            "config statistics.designs.a.formula: expected at least 4 participants with all covariates",
        ),
    ],
)
def test_config_errors_show_in_a_dry_run(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_cohort(tmp_path, ["a", "b"])
    found = snakemake(tmp_path, config_for(tmp_path, **change), "--dry-run")
    assert found.returncode != 0
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "results").exists()


def test_dry_run_of_a_bids_folder(tmp_path: Path, brains: Path) -> None:
    config = config_for(tmp_path) | {
        "cohort": {"source": str(brains), "labels_from": "derivatives/dlmuse"},
        "atlas": {"participants": ["IXI012"]},
    }
    found = snakemake(tmp_path, config, "--dry-run", "--quiet", "rules")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("target", ["pairwise", "sessions", "atlas", "statistics"])
def test_a_target_that_the_configuration_lacks_is_refused(tmp_path: Path, target: str) -> None:
    write_cohort(tmp_path, ["a", "b"])
    found = snakemake(tmp_path, config_for(tmp_path, targets=["template"]), "--dry-run", target)
    assert found.returncode == 1
    assert f"config targets: expected {target} among them, found template" in found.stdout + found.stderr


def test_lint() -> None:
    pytest.importorskip("snakefmt")
    files = [str(ROOT / "Snakefile"), *map(str, sorted((ROOT / "rules").glob("*.smk")))]
    done = subprocess.run(
        [sys.executable, "-m", "snakefmt.snakefmt", "--check", *files],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_study_publishes_everything(study: Path) -> None:
    results = study / "results"
    quarantine = pd.read_csv(results / "quarantine.tsv", sep="\t")
    assert quarantine["participant_id"].tolist() == ["sub-c", "sub-d"]
    assert "the value 0 in every voxel" in quarantine["reason"][0]
    template = read_image(results / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz")
    warped = read_image(results / "sub-e" / "anat" / "sub-e_space-Tiny_desc-preproc_T1w.nii.gz")
    assert warped.grid.matches(template.grid)
    overlap = pd.read_csv(results / "tables" / "overlap.tsv", sep="\t")
    assert overlap["dice"].mean() > 0.8
    assert overlap["age"].tolist() == [34, 34]
    accuracy = pd.read_csv(results / "tables" / "atlas_validation.tsv", sep="\t")
    assert accuracy.groupby("atlas")["fusion"].unique().map(list).to_dict() == {
        atlas: ["majority", "local", "staple", "joint"] for atlas in ("sub-a", "sub-b")
    }
    assert accuracy["dice"].min() > 0.6
    assert (results / "tpl-Tiny" / "tpl-Tiny_atlas-Cohort_res-01_probseg.nii.gz").exists()
    volumes = pd.read_csv(results / "tables" / "volumes.tsv", sep="\t")
    assert set(volumes["participant_id"]) == {"sub-a", "sub-b", "sub-e"}
    for table in (results / "tables").glob("*.tsv"):
        assert table.with_suffix(".json").exists()
    qc = pd.read_csv(results / "qc.tsv", sep="\t")
    assert qc["weight"].tolist() == [1, 1, 1]
    assert (qc["mask_dice"] > 0.8).all()
    registrations = pd.read_csv(results / "tables" / "registrations.tsv", sep="\t")
    assert registrations.loc[registrations["stage"] == "population", "label_dice"].min() > 0.8
    report = (results / "report.html").read_text()
    assert "sub-d" in report
    assert "Accuracy of the atlas labels" in report
    assert not (results / "work" / "register" / "01" / "b0001").exists()


@pytest.mark.slow
def test_the_report_opens_in_a_browser(study: Path, browser: Browser) -> None:
    sections = ["template", "convergence", "registrations", "volumes", "overlap", "accuracy", "quarantine"]
    look_through(browser, study / "results" / "report.html", ["sub-a", "sub-b", "sub-e"], sections)


@pytest.mark.slow
def test_second_run_does_nothing(study: Path) -> None:
    found = snakemake(study, config_for(study), "--cores", "1", "--dry-run")
    assert "Nothing to be done" in found.stderr + found.stdout


@pytest.mark.slow
def test_new_member_leaves_the_prepared_alone(study: Path) -> None:
    before = (study / "cohort.tsv").read_text()
    write_cohort(study, ["a", "b", "c", "d", "e", "f"])
    try:
        counts = planned(study, config_for(study))
    finally:
        (study / "cohort.tsv").write_text(before)
    assert counts["prepare_batch"] == 1
    assert "warm_cache" not in counts


@pytest.mark.slow
def test_new_iteration_starts_from_the_last(study: Path) -> None:
    config = config_for(study)
    config["template"]["stages"][1]["repeats"] = 2
    counts = planned(study, config)
    assert counts["register_last"] == 2
    assert "register_batch" not in counts
    assert "prepare_batch" not in counts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "change", "again", "untouched"),
    [
        ("prepare", {"winsorise_percent": [1, 99]}, "prepare_batch", "warm_cache"),
        ("atlas", {"fusion": "majority"}, "atlas_batch", "register_last"),
        ("atlas", {"validation": ["joint"]}, "validate_atlas", "atlas_batch"),
        ("atlas", {"route": "template_library"}, "register_library", "register_last"),
        ("atlas", {"registration": "affine"}, "atlas_batch", "register_last"),
        ("tables", {"surface_distances": False}, "measure_batch", "atlas_batch"),
        ("report", {"title": "Another"}, "make_report", "measure_batch"),
    ],
)
def test_a_changed_setting_plans_what_depends_on_it(
    study: Path, section: str, change: dict[str, Any], again: str, untouched: str
) -> None:
    config = config_for(study)
    config[section] = config.get(section, {}) | change
    counts = planned(study, config)
    assert counts[again] >= 1
    assert untouched not in counts


@pytest.mark.slow
def test_snakemake_makes_its_own_report(study: Path) -> None:
    found = snakemake(study, config_for(study), "--report", "snakemake.zip")
    assert found.returncode == 0, found.stderr[-3000:]
    with zipfile.ZipFile(study / "snakemake.zip") as archive:
        inside = {Path(name).name: archive.read(name) for name in archive.namelist() if "/data/" in name}
        page = archive.read("snakemake/report.html").decode()
    for name in ("report.html", "quarantine.tsv", "qc.tsv", "tables/volumes.tsv", "tables/overlap.tsv"):
        published = study / "results" / name
        assert inside[published.name] == published.read_bytes(), name
        assert published.name in page
    assert "Groupwise registration of a population of images" in page


@pytest.mark.slow
def test_strict_fails_after_everything_else(study: Path) -> None:
    found = snakemake(study, config_for(study, strict=True))
    assert found.returncode != 0
    assert "expected no image set aside (strict: true), found 2: sub-c, sub-d" in found.stderr


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical(study: Path, tmp_path: Path) -> None:
    config = config_for(study)
    with subprocess.Popen(
        arguments(tmp_path, config, "--cores", "1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        gathered = tmp_path / "results" / "work" / "template" / "01"
        deadline = time.monotonic() + 300
        while not gathered.exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1)
        os.killpg(running.pid, signal.SIGKILL)
    assert not (tmp_path / "results" / "report.html").exists()
    # what a killed Snakemake leaves behind is a lock, which its user removes
    snakemake(tmp_path, config, "--unlock")
    found = snakemake(tmp_path, config, "--cores", "1")
    assert found.returncode == 0, found.stderr[-3000:]
    assert digests(tmp_path / "results") == digests(study / "results")
