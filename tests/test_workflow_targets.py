"""Workflows of other targets and settings: pairs, a template that is given, strata, symmetry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from regcore.io.nifti import read_image, read_labels
from regcore.io.tables import read_json
from tests.browsing import look_through
from tests.workflows import config_for, labels_of, snakemake, write_cohort, write_head

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


@pytest.fixture(scope="module")
def frozen(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study on the old template: with a newcomer, and a table of two atlases, one of them bad."""
    folder = tmp_path_factory.mktemp("frozen")
    for name in ("a", "b", "e"):
        (folder / f"{name}.nii.gz").write_bytes((study / f"{name}.nii.gz").read_bytes())
        labels_of(folder / f"{name}.nii.gz").write_bytes(labels_of(study / f"{name}.nii.gz").read_bytes())
    write_cohort(folder, ["a", "b", "e", "f"])
    write_head(folder / "one.nii.gz", 20)
    (folder / "bad.nii.gz").write_bytes(b"not an image")
    rows = ("One\tone.nii.gz\tone_dseg.nii.gz", "Bad\tbad.nii.gz\tone_dseg.nii.gz")
    (folder / "atlases.tsv").write_text("\n".join(["atlas_id\timage\tlabels", *rows]) + "\n")
    config = config_for(folder, targets=["template", "population", "atlas", "tables"])
    config["template"]["frozen"] = str(study / "results" / "tpl-Tiny")
    config["atlas"] = {
        "table": str(folder / "atlases.tsv"),
        "route": "template_library",
        "template_library": ["e"],
        "library_registration": {
            "linear": [{"shrink": [2], "iterations": [20], "rotations_deg": 0}],
            "deformable": {"shrink": [2, 1], "iterations": [10, 5]},
        },
        "validation": [],
    }
    found = snakemake(folder, config)
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_frozen_template_takes_another_member(study: Path, frozen: Path) -> None:
    """Members that were in it keep their transforms to the last bit; the newcomer alone is registered."""
    old, new = study / "results", frozen / "results"
    for file in (
        "tpl-Tiny/tpl-Tiny_res-01_T1w.nii.gz",
        *(f"sub-{name}/anat/sub-{name}_from-T1w_to-Tiny_mode-image_xfm.h5" for name in "abe"),
    ):
        assert (new / file).read_bytes() == (old / file).read_bytes(), file
    registrations = pd.read_csv(new / "tables" / "registrations.tsv", sep="\t")
    built = registrations[registrations["stage"].isin(["affine", "deformable"])]
    assert set(built["participant_id"]) == {"sub-f"}
    after = registrations[registrations["stage"] == "population"].set_index("participant_id")
    assert after["similarity_after"]["sub-f"] > 0.9
    assert not (new / "tables" / "influence.tsv").exists()


@pytest.mark.slow
def test_atlases_of_a_table_label_members_through_a_template_library(frozen: Path) -> None:
    results = frozen / "results"
    quarantine = pd.read_csv(results / "quarantine.tsv", sep="\t")
    assert quarantine[["participant_id", "stage"]].to_numpy().tolist() == [["atlas-Bad", "atlas"]]
    assert quarantine["image"].tolist() == [str(frozen / "bad.nii.gz")]
    overlap = pd.read_csv(results / "tables" / "overlap.tsv", sep="\t")
    assert overlap.groupby("participant_id")["label"].apply(list).to_dict() == {
        f"sub-{name}": [1, 2] for name in "abef"
    }
    assert overlap["dice"].min() > 0.7
    assert overlap["dice"].mean() > 0.8
    registrations = pd.read_csv(results / "tables" / "registrations.tsv", sep="\t")
    ways = registrations[registrations["stage"].isin(["template_library", "atlas"])]
    assert ways[["fixed", "moving"]].to_numpy().tolist() == [
        ["sub-e", "atlas-One"], ["sub-a", "sub-e"], ["sub-b", "sub-e"], ["sub-e", "atlas-One"],
        ["sub-f", "sub-e"],
    ]  # fmt: skip
    for key in ("sub-a", "sub-f"):
        about = read_json(results / key / "anat" / f"{key}_atlas-Cohort_dseg.json")
        assert about["Sources"] == ["atlas-One"]
    stem = results / "tpl-Tiny" / "tpl-Tiny_atlas-Cohort_res-01"
    assert read_json(Path(f"{stem}_probseg.json"))["Sources"] == ["atlas-One"]
    assert np.unique(read_labels(f"{stem}_dseg.nii.gz").data).tolist() == [0, 1, 2]


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
def test_the_report_opens_in_a_browser(rebuilt: Path, browser: Browser) -> None:
    sections = ["strata", "influence", "asymmetry", "convergence", "jacobians", "runtime", "provenance"]
    members = [f"sub-{name}" for name in "abef"]
    look_through(browser, rebuilt / "results" / "report.html", members, sections)


@pytest.mark.slow
def test_studies_are_valid_bids(
    study: Path, rebuilt: Path, bids_issues: Callable[[Path], list[dict[str, Any]]]
) -> None:
    for folder in (study, rebuilt):
        assert [issue for issue in bids_issues(folder / "results") if issue["severity"] == "error"] == []
