"""Workflows of other targets and settings: pairs, a template that is given, strata, symmetry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regcore.io.nifti import read_image
from tests.workflows import config_for, labels_of, snakemake, write_cohort

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")


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


@pytest.mark.slow
def test_studies_are_valid_bids(
    study: Path, rebuilt: Path, bids_issues: Callable[[Path], list[dict[str, Any]]]
) -> None:
    for folder in (study, rebuilt):
        assert [issue for issue in bids_issues(folder / "results") if issue["severity"] == "error"] == []
