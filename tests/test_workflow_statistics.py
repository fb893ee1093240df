"""The workflow with designs, and what a change of them runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regcore.io.nifti import read_image
from tests.workflows import config_for, planned, snakemake, write_cohort

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")


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
