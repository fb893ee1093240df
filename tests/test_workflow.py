"""The whole workflow, run as a user runs it, on images small enough to finish in a minute."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from regcore.image import Image
from regcore.io.nifti import read_image, write_image
from regcore.io.tables import read_json
from regcore.space import Grid

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")

ROOT = Path(__file__).parents[1]
SIZE = 26


def write_head(path: Path, seed: int) -> None:
    """A small round head with two structures, and its labels beside it."""
    generator = np.random.default_rng(seed)
    x = np.mgrid[:SIZE, :SIZE, :SIZE].astype(np.float32)
    centre = 12.5 + generator.uniform(-1, 1, 3)
    stretch = 1 + generator.uniform(-0.1, 0.1, 3)
    scaled = (x - centre[:, None, None, None]) / stretch[:, None, None, None]
    radius = np.sqrt((scaled**2).sum(axis=0)) + 0.5 * np.sin(scaled[0] / 2 + generator.uniform(0, 1))
    image = (
        400 * (radius < 8) + 300 * (radius < 5) + 200 * (radius < 2.5) + generator.normal(0, 10, x.shape[1:])
    )
    grid = Grid((SIZE, SIZE, SIZE), np.diag([2.0, 2.0, 2.0, 1.0]))
    write_image(path, Image(image.astype(np.float32), grid))
    write_image(labels_of(path), Image((radius < 5).astype(np.int32) + (radius < 2.5), grid))


def labels_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".nii.gz", "_dseg.nii.gz"))


def write_cohort(folder: Path, members: list[str]) -> Path:
    """Table of the members, whose images are made where they are missing."""
    rows = ["participant_id\timage\tlabels\tage"]
    for number, name in enumerate(members):
        image = folder / f"{name}.nii.gz"
        if not image.exists():
            write_head(image, number)
        rows.append(f"sub-{name}\t{image.name}\t{labels_of(image).name}\t{30 + number}")
    table = folder / "cohort.tsv"
    table.write_text("\n".join(rows) + "\n")
    return table


def config_for(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "cohort": {"source": str(folder / "cohort.tsv")},
        "results": "results",
        "targets": ["template", "population", "atlas", "tables", "report"],
        "batch_size": 3,
        "template": {
            "name": "Tiny",
            "stages": [
                {"name": "affine", "linear": [{"shrink": [2], "iterations": [10], "rotations_deg": 0}]},
                {"name": "deformable", "deformable": {"shrink": [2, 1], "iterations": [10, 5]}},
            ],
        },
        "atlas": {"participants": ["a", "b"]},
        **more,
    }


def arguments(folder: Path, config: dict[str, Any], *extra: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
    ]
    return [*command, "--configfile", str(folder / "config.yaml"), *(extra or ("--cores", "2"))]


def snakemake(folder: Path, config: dict[str, Any], *extra: str) -> subprocess.CompletedProcess[str]:
    command = arguments(folder, config, *extra)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def planned(folder: Path, config: dict[str, Any]) -> dict[str, int]:
    """How many jobs of each rule a run would start."""
    found = snakemake(folder, config, "--dry-run")
    assert found.returncode == 0, found.stdout + found.stderr
    rows = re.findall(r"^([a-z_]+) +(\d+)$", found.stdout, re.MULTILINE)
    return {rule: int(count) for rule, count in rows}


def digests(results: Path) -> dict[str, str]:
    """Digest of every published file whose content does not depend on the clock."""
    files = [file for file in sorted(results.rglob("*")) if file.is_file()]
    return {
        str(file.relative_to(results)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if "work" not in file.parts and file.name not in ("runtime.tsv", "report.html")
    }


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


def test_lint() -> None:
    pytest.importorskip("snakefmt")
    files = [str(ROOT / "Snakefile"), *map(str, sorted((ROOT / "rules").glob("*.smk")))]
    done = subprocess.run(
        [sys.executable, "-m", "snakefmt.snakefmt", "--check", *files],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished study of five members, two of whose images cannot be used."""
    folder = tmp_path_factory.mktemp("study")
    write_cohort(folder, ["a", "b", "c", "d"])
    grid = Grid((SIZE, SIZE, SIZE), np.eye(4))
    write_image(folder / "c.nii.gz", Image(np.zeros(grid.shape, np.float32), grid))
    (folder / "d.nii.gz").write_bytes(b"not an image")
    write_cohort(folder, ["a", "b", "c", "d", "e"])
    found = snakemake(folder, config_for(folder))
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_studies_are_valid_bids(
    study: Path, rebuilt: Path, bids_issues: Callable[[Path], list[dict[str, Any]]]
) -> None:
    for folder in (study, rebuilt):
        assert [issue for issue in bids_issues(folder / "results") if issue["severity"] == "error"] == []


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
    assert counts["prepare_member"] == 1
    assert "warm_cache" not in counts


@pytest.mark.slow
def test_new_iteration_starts_from_the_last(study: Path) -> None:
    config = config_for(study)
    config["template"]["stages"][1]["repeats"] = 2
    counts = planned(study, config)
    assert counts["register_last"] == 2
    assert "register_batch" not in counts
    assert "prepare_member" not in counts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "change", "again", "untouched"),
    [
        ("prepare", {"winsorise_percent": [1, 99]}, "prepare_member", "warm_cache"),
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


def decided(cohort: Path, folder: Path, *rows: str) -> dict[str, Any]:
    """Configuration of a cohort with a table of decisions."""
    table = folder / "overrides.tsv"
    table.write_text("\n".join(["participant\taction\tpreset\treason", *rows]) + "\n")
    return config_for(cohort) | {"qc": {"overrides": str(table)}}


def test_unknown_decisions_show_in_a_dry_run(tmp_path: Path) -> None:
    write_cohort(tmp_path, ["a", "b"])
    found = snakemake(tmp_path, decided(tmp_path, tmp_path, "z\tkeep\tn/a\tn/a"), "--dry-run")
    assert found.returncode != 0
    assert "line 2: expected a participant of the cohort, found 'z'" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_decisions_are_honoured_and_rerun_only_what_must(study: Path, tmp_path: Path) -> None:
    """The template is the mean of the members with the weights of qc.tsv, and nothing else."""
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    config = decided(study, copy, "e\texclude\tn/a\tcropped", "a\tretry\trigid\tn/a")
    before = (copy / "overrides.tsv").read_bytes()
    counts = planned(copy, config)
    assert counts["centre_batch"] == 2
    assert not {"warm_cache", "prepare_member", "template_grid"} & set(counts)
    config = decided(study, copy, "e\texclude\tn/a\tcropped", "a\tretry\trigid\tn/a")
    found = snakemake(copy, config)
    assert found.returncode == 0, found.stderr[-3000:]
    assert (copy / "overrides.tsv").read_bytes() == before
    results = copy / "results"
    qc = pd.read_csv(results / "qc.tsv", sep="\t").set_index("participant_id")
    assert qc["weight"].to_dict() == {"sub-a": 1, "sub-b": 1, "sub-e": 0}
    assert qc["reason"]["sub-e"] == "override: exclude"
    template = read_image(results / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz").data
    warped = {
        key: read_image(results / key / "anat" / f"{key}_space-Tiny_desc-preproc_T1w.nii.gz").data
        for key in qc.index
    }
    mean = sum(qc["weight"][key] * data for key, data in warped.items()) / qc["weight"].sum()
    inside = tuple(slice(10, -10) for _ in range(3))  # where all of them cover the template
    np.testing.assert_allclose(template[inside], mean[inside], atol=2e-4)
    certificate = read_json(results / "tpl-Tiny" / "tpl-Tiny_res-01_desc-bias_certificate.json")
    assert certificate["members"] == 2
    assert certificate["mean_log_affine_rms_mm"] < 0.1
    reworded = planned(copy, decided(study, copy, "e\texclude\tn/a\tmoved", "a\tretry\trigid\tn/a"))
    assert set(reworded) - {"all", "total"} == {"make_report"}


@pytest.mark.slow
def test_snakemake_makes_its_own_report(study: Path) -> None:
    found = snakemake(study, config_for(study), "--report", "snakemake.zip")
    assert found.returncode == 0, found.stderr[-3000:]
    with zipfile.ZipFile(study / "snakemake.zip") as archive:
        names = archive.namelist()
        page = archive.read("snakemake/report.html").decode()
    assert any(name.endswith("qc.tsv") for name in names)
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


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished study of six members with two designs."""
    folder = tmp_path_factory.mktemp("statistics")
    write_cohort(folder, list("abcdef"))
    found = snakemake(folder, statistics_config(folder))
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


def statistics_config(folder: Path) -> dict[str, Any]:
    designs = {"ageing": {"formula": "logjac ~ age"}, "size": {"formula": "volume ~ age"}}
    config = config_for(folder, targets=["statistics", "report"]) | {
        "statistics": {"permutations": 19, "designs": designs}
    }
    # volumes by Jacobians agree with those of labels only once the registration has converged
    config["template"]["stages"][1]["deformable"]["iterations"] = [20, 20]
    return config


@pytest.mark.slow
def test_statistics(statistics: Path) -> None:
    results = statistics / "results"
    maps = results / "statistics" / "ageing"
    t = read_image(maps / "space-Tiny_contrast-age_stat-t_statmap.nii.gz")
    assert t.grid.matches(read_image(results / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz").grid)
    assert np.abs(t.data).max() > 0
    for kind in ("effect", "logpFdr", "logpFwe", "logpFweTfce"):
        assert (maps / f"space-Tiny_contrast-age_stat-{kind}_statmap.nii.gz").exists()
    table = pd.read_csv(results / "statistics" / "size" / "structures.tsv", sep="\t")
    assert table["members"].tolist() == [6, 6]
    consistency = pd.read_csv(results / "tables" / "consistency.tsv", sep="\t")
    assert consistency["correlation"].min() > 0.8
    assert (results / "sub-a" / "anat" / "sub-a_space-Tiny_desc-relSmoothed_logjac.nii.gz").exists()
    report = (results / "report.html").read_text()
    assert "logjac ~ age" in report
    assert "Nothing to be done" in snakemake(statistics, statistics_config(statistics), "--dry-run").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "change", "again", "untouched"),
    [
        (
            "morphometry",
            {"fwhm_mm": 3.0},
            {"morphometry_batch": 2, "statistics_design": 2},
            "population_batch",
        ),
        ("statistics", {"permutations": 29}, {"statistics_design": 2}, "morphometry_batch"),
    ],
)
def test_changed_statistics_leave_the_images_alone(
    statistics: Path, section: str, change: dict[str, Any], again: dict[str, int], untouched: str
) -> None:
    config = statistics_config(statistics)
    config[section] = config.get(section, {}) | change
    counts = planned(statistics, config)
    assert {rule: counts.get(rule) for rule in again} == again
    assert untouched not in counts


@pytest.mark.slow
def test_pairwise(study: Path, tmp_path: Path) -> None:
    config = {
        "cohort": {"source": str(study / "cohort.tsv")},
        "targets": ["pairwise", "tables"],
        "pairwise": {"reference": "a", "registration": {"deformable": {"shrink": [2], "iterations": [5]}}},
    }
    found = snakemake(tmp_path, config)
    assert found.returncode == 0, found.stderr[-3000:]
    results = tmp_path / "results"
    assert (results / "sub-e" / "anat" / "sub-e_from-T1w_to-a_mode-image_xfm.h5").exists()
    registrations = pd.read_csv(results / "tables" / "registrations.tsv", sep="\t")
    assert registrations["moving"].tolist() == ["sub-b", "sub-e"]
    assert (registrations["similarity_after"] > registrations["similarity_before"]).all()


@pytest.mark.slow
def test_frozen_template_takes_another_member(study: Path, tmp_path: Path) -> None:
    """Members that were in it keep their transforms to the last bit; the newcomer alone is registered."""
    for name in ("a", "b", "e"):
        (tmp_path / f"{name}.nii.gz").write_bytes((study / f"{name}.nii.gz").read_bytes())
        labels_of(tmp_path / f"{name}.nii.gz").write_bytes(labels_of(study / f"{name}.nii.gz").read_bytes())
    write_cohort(tmp_path, ["a", "b", "e", "f"])
    config = config_for(tmp_path, targets=["template", "population", "tables"])
    config["template"]["frozen"] = str(study / "results" / "tpl-Tiny")
    found = snakemake(tmp_path, config)
    assert found.returncode == 0, found.stderr[-3000:]
    old, new = study / "results", tmp_path / "results"
    for file in (
        "tpl-Tiny/tpl-Tiny_res-01_T1w.nii.gz",
        *(f"sub-{name}/anat/sub-{name}_from-T1w_to-Tiny_mode-image_xfm.h5" for name in "abe"),
    ):
        assert (new / file).read_bytes() == (old / file).read_bytes(), file
    registrations = pd.read_csv(new / "tables" / "registrations.tsv", sep="\t")
    built = registrations[registrations["stage"] != "population"]
    assert set(built["participant_id"]) == {"sub-f"}
    after = registrations.set_index("participant_id")["similarity_after"]
    assert after["sub-f"].iloc[-1] > 0.9
    assert not (new / "tables" / "influence.tsv").exists()


@pytest.fixture(scope="module")
def rebuilt(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study started from the old template: symmetric, by age, with influence and asymmetry."""
    folder = tmp_path_factory.mktemp("rebuilt")
    write_cohort(folder, ["a", "b", "e", "f"])
    (folder / "names.tsv").write_text("index\tname\n1\tLeft shell\n2\tRight shell\n")
    config = config_for(folder, strata={"by": "age", "bins": [30, 32, 33], "at": [31]})
    config["cohort"]["label_names"] = str(folder / "names.tsv")
    config["targets"] = ["template", "population", "tables", "report"]
    config["template"] |= {"name": "New", "start": str(study / "results" / "tpl-Tiny"), "symmetric": True}
    found = snakemake(folder, config)
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_rebuild_with_all_that_is_asked_of_a_cohort(rebuilt: Path) -> None:
    results = rebuilt / "results"
    template = results / "tpl-New"
    for file in ("tpl-New_res-01_T1w.nii.gz", "cohort-3/tpl-New_cohort-3_res-01_T1w.nii.gz"):
        image = read_image(template / file)
        assert np.array_equal(image.data, image.data[::-1]), file
    tables = {file.stem: pd.read_csv(file, sep="\t") for file in (results / "tables").glob("*.tsv")}
    assert tables["convergence"]["stage"].tolist() == ["affine", "deformable"]
    assert tables["strata"]["name"].tolist() == ["age 30 to 32", "age 32 to 33", "age 31"]
    assert tables["strata"]["members"].tolist() == [2, 2, 4]
    assert len(tables["influence"]) == 4
    shell = tables["asymmetry"].set_index("participant_id")
    assert shell["structure"].unique().tolist() == ["shell"]
    assert shell["asymmetry_volume"].between(1, 2).all()
    report = (results / "report.html").read_text()
    for section in ("Influence of every member", "Conditional templates", "Left and right"):
        assert section in report
