"""The workflow with designs and with outliers, and what a change of designs runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regcore.image import Image
from regcore.io.nifti import read_image, write_image
from tests.workflows import config_for, planned, snakemake, write_cohort, write_head

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished study of six members with two designs, and of an image of something else."""
    folder = tmp_path_factory.mktemp("statistics")
    table = write_cohort(folder, list("abcdef"))
    write_stranger(folder / "x.nii.gz")
    with table.open("a") as rows:
        rows.write("sub-x\tx.nii.gz\tn/a\tn/a\n")
    found = snakemake(folder, statistics_config(folder))
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


def write_stranger(path: Path) -> None:
    """A short column with the intensities of a head."""
    write_head(path, 10)
    image = read_image(path)
    x = np.mgrid[tuple(slice(size) for size in image.grid.shape)]
    column = np.abs(x[0] - 12) + np.abs(x[1] - 12) < 7
    write_image(path, Image((image.data * column).astype(np.float32), image.grid))


def statistics_config(folder: Path) -> dict[str, Any]:
    designs = {"ageing": {"formula": "logjac ~ age"}, "size": {"formula": "volume ~ age"}}
    config = config_for(folder, targets=["statistics", "report"], batch_size=4) | {
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
def test_an_outlier_weighs_less(statistics: Path) -> None:
    """The template is the mean of the published images with the weights of qc.tsv, not their plain mean."""
    results = statistics / "results"
    qc = pd.read_csv(results / "qc.tsv", sep="\t").set_index("participant_id")
    good = [f"sub-{name}" for name in "abcdef"]
    assert (qc.loc[good, "weight"] == 1).all()
    assert qc.loc[good, "reason"].isna().all()
    assert 0 < qc["weight"]["sub-x"] < 0.6
    assert qc["reason"]["sub-x"].startswith("outlier: similarity 0.")
    template = read_image(results / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz").data
    warped = [
        read_image(results / key / "anat" / f"{key}_space-Tiny_desc-preproc_T1w.nii.gz").data
        for key in qc.index
    ]
    inside = tuple(slice(10, -10) for _ in range(3))  # where all of them cover the template
    stated, plain, without = (
        np.average(warped, axis=0, weights=weights)[inside]
        for weights in (qc["weight"], np.ones(len(qc)), qc.index != "sub-x")
    )
    np.testing.assert_allclose(template[inside], stated, atol=2e-4)
    # nearer to what the others look like than the plain mean is, by as much as the outlier weighs less
    share = np.abs(template[inside] - without).max() / np.abs(plain - without).max()
    weight = qc["weight"]["sub-x"]
    assert share == pytest.approx(weight / (6 + weight) * 7, rel=0.05)
    report = (results / "report.html").read_text()
    assert qc["reason"]["sub-x"] in report


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
