"""What is asked for together: sessions, pseudonyms, symmetry, strata, statistics and a frozen template."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from regcore.io.nifti import read_image
from regcore.io.pseudonyms import pseudonym, read_secret
from regcore.io.tables import read_table
from tests.browsing import look_through
from tests.longitudinal import COARSE, RIGID, pose, write_cohort, write_session
from tests.workflows import snakemake

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REAL_NAME = re.compile(r"sub-[abcde](?![A-Za-z0-9])|[/ ][abcde](1|2|10)?(_dseg|_dose)?\.nii")
TEXTS = (".tsv", ".json", ".html", ".log", ".label", ".txt", ".md")


def config_of(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "cohort": {"source": str(folder / "cohort.tsv")},
        "results": "results",
        "targets": ["template", "population", "sessions", "tables", "statistics", "report"],
        "privacy": {"pseudonym_secret": str(folder / "secret")},
        "sessions": {"order_by": "age", "accumulate": "dose", "stages": [COARSE, RIGID | {"repeats": 2}]},
        "strata": {"by": "age", "bins": [40, 42, 45]},
        "statistics": {"permutations": 9, "designs": {"ageing": {"formula": "logjac ~ age"}}},
        **more,
    }


def template_of(**more: Any) -> dict[str, Any]:
    stages = [
        {"name": "affine", "linear": [{"shrink": [2], "iterations": [10], "rotations_deg": 0}]},
        {"name": "deformable", "deformable": {"shrink": [2, 1], "iterations": [10, 5]}},
    ]
    return {"name": "Tiny", "stages": stages, **more}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished study of five subjects with sessions, under pseudonyms."""
    folder = tmp_path_factory.mktemp("combined")
    table = write_cohort(folder)
    # statistics need five
    write_session(folder / "e", 1.0, 0.1, pose(40), 4)
    with table.open("a") as rows:
        rows.write("sub-e\tn/a\te.nii.gz\te_dseg.nii.gz\te_dose.nii.gz\t45\n")
    (folder / "secret").write_text("a secret of many letters\n")
    # a dose that cannot be read: what is said about it must not name its file
    (folder / "b2_dose.nii.gz").write_bytes(b"no image")
    found = snakemake(folder, config_of(folder, template=template_of(symmetric=True)))
    assert found.returncode == 0, found.stderr[-3000:]
    assert REAL_NAME.search(found.stdout) is None
    return folder


def alias(folder: Path, name: str) -> str:
    return f"sub-{pseudonym(read_secret(folder / 'secret'), name)}"


@pytest.mark.slow
def test_no_output_names_a_participant(built: Path) -> None:
    results = built / "results"
    for file in results.rglob("*"):
        assert REAL_NAME.search(file.name) is None, file
        if file.is_file() and file.suffix in TEXTS:
            shown = REAL_NAME.search(file.read_text())
            assert shown is None, (file, shown)
    set_aside = read_table(results / "quarantine.tsv").iloc[0]
    assert (set_aside["participant_id"], set_aside["stage"]) == (alias(built, "b"), "accumulate")


@pytest.mark.slow
def test_the_report_opens_in_a_browser(built: Path, browser: Browser) -> None:
    members = [alias(built, name) for name in "abcde"]
    sections = ["sessions", "strata", "influence", "statistics", "jacobians", "quarantine"]
    look_through(browser, built / "results" / "report.html", members, sections)


@pytest.mark.slow
def test_it_is_valid_bids(built: Path, bids_issues: Callable[[Path], list[dict[str, Any]]]) -> None:
    found = [issue for issue in bids_issues(built / "results") if issue["severity"] == "error"]
    assert found == []


@pytest.mark.slow
def test_all_of_it_is_there(built: Path) -> None:
    results = built / "results"
    template = read_image(results / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz").data
    assert np.array_equal(template, template[::-1])
    strata = read_table(results / "tables" / "strata.tsv")
    assert strata["members"].tolist() == [2, 3]
    followed = read_table(results / "tables" / "sessions.tsv")
    assert followed.loc[followed["participant_id"] == alias(built, "a"), "session_id"].unique().tolist() == [
        "ses-1", "ses-2", "ses-10",
    ]  # fmt: skip
    members = read_table(results / "statistics" / "ageing" / "participants.tsv")
    assert set(members["participant_id"]) == {alias(built, name) for name in "abcde"}
    assert "Nothing to be done" in again(built).stdout


def again(folder: Path) -> Any:
    return snakemake(folder, config_of(folder, template=template_of(symmetric=True)), "--dry-run")


@pytest.mark.slow
def test_subjects_keep_their_transforms_to_a_frozen_template(built: Path, tmp_path: Path) -> None:
    """Their templates come out the same, bit by bit, so that none of them is registered again."""
    template = template_of(frozen=str(built / "results" / "tpl-Tiny"))
    found = snakemake(
        tmp_path, config_of(built, template=template, targets=["population", "sessions", "tables"])
    )
    assert found.returncode == 0, found.stderr[-3000:]
    key = alias(built, "a")
    for file in (
        "tpl-Tiny/tpl-Tiny_res-01_T1w.nii.gz",
        f"{key}/anat/{key}_from-T1w_to-Tiny_mode-image_xfm.h5",
        f"{key}/ses-10/anat/{key}_ses-10_from-T1w_to-Tiny_mode-image_xfm.h5",
    ):
        assert (tmp_path / "results" / file).read_bytes() == (built / "results" / file).read_bytes(), file


@pytest.mark.slow
def test_a_rebuild_with_sessions_starts_from_the_template(built: Path, tmp_path: Path) -> None:
    template = template_of(start=str(built / "results" / "tpl-Tiny"), symmetric=True)
    config = config_of(built, template=template, targets=["template", "population", "sessions", "tables"])
    found = snakemake(tmp_path, config)
    assert found.returncode == 0, found.stderr[-3000:]
    results = tmp_path / "results"
    logs = "".join(file.read_text() for file in (results / "work" / "logs" / "start_batch").glob("*.log"))
    # a subject's template has come out the same, so its transform is known
    for name in "abcde":
        assert f"{alias(built, name)}: starts from" in logs
    # all stages but the last leave the template as it is
    rows = read_table(results / "tables" / "convergence.tsv").set_index("stage")
    assert rows.loc["affine", "template_change"] == 0 < rows.loc["deformable", "template_change"]
    before, after = (
        read_image(folder / "results" / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz").data
        for folder in (built, tmp_path)
    )
    assert before.shape == after.shape
    assert 0.98 < np.corrcoef(before.ravel(), after.ravel())[0, 1] < 1
