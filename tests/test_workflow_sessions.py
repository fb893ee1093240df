"""The whole workflow on a made cohort whose subjects have several sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regcore.image import Image
from regcore.io.itk import read_transform
from regcore.io.nifti import write_image
from regcore.io.tables import read_json, read_table
from regcore.space import Grid
from regcore.transforms import Chain
from tests.longitudinal import COARSE, CONFIG, GROWING, RIGID, surface, write_cohort
from tests.workflows import snakemake

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")


@pytest.mark.slow
def test_workflow_of_a_ragged_cohort(tmp_path: Path) -> None:
    """Subjects with three, two, one and no named session; one of the three is not usable."""
    table = write_cohort(tmp_path)
    write_image(tmp_path / "a2.nii.gz", Image(np.zeros((16, 16, 16), np.float32), Grid((16,) * 3, np.eye(4))))
    config = CONFIG | {
        "cohort": {"source": str(table)},
        "results": "results",
        "targets": ["template", "population", "sessions", "tables", "report"],
        "sessions": {"accumulate": "dose", "stages": [COARSE, RIGID, GROWING]},
        "template": {
            "name": "Tiny",
            "stages": [
                {"name": "affine", "linear": [{"shrink": [2], "iterations": [10], "rotations_deg": 0}]},
                {"name": "deformable", "deformable": {"shrink": [2, 1], "iterations": [10, 5]}},
            ],
        },
    }
    found = snakemake(tmp_path, config)
    assert found.returncode == 0, found.stderr[-3000:]
    results = tmp_path / "results"
    assert read_json(results / "tpl-Tiny" / "tpl-Tiny_res-01_desc-bias_certificate.json")["members"] == 4
    assert read_table(results / "quarantine.tsv")["session_id"].tolist() == ["ses-2"]

    frame = read_table(results / "tables" / "sessions.tsv")
    assert frame.groupby("participant_id")["session_id"].nunique().to_dict() == {
        "sub-a": 2, "sub-b": 2, "sub-c": 1, "sub-d": 0,
    }  # fmt: skip
    assert (frame["overall_mean"] - frame["within_mean"] - frame["between_mean"]).abs().max() < 0.03
    inner = frame[(frame["segmentation"] == "own") & (frame["label"] == 2)]
    assert inner["volume_change_percent"].to_numpy() == pytest.approx([0, 40, 0, 20, 0, 0], abs=8)
    assert inner["age"].tolist() == [40, 44, 41, 43, 42, 43]
    assert (results / "tables" / "sessions.json").exists()

    anat = results / "sub-a" / "ses-10" / "anat"
    forward = read_transform(anat / "sub-a_ses-10_from-T1w_to-Tiny_mode-image_xfm.h5")
    backward = read_transform(anat / "sub-a_ses-10_from-Tiny_to-T1w_mode-image_xfm.h5")
    assert np.linalg.norm(backward(forward(surface(18.0))) - surface(18.0), axis=-1).max() < 0.2
    steps = [
        read_transform(anat / "sub-a_ses-10_from-T1w_to-subject_mode-image_xfm.h5"),
        read_transform(results / "sub-a" / "anat" / "sub-a_from-T1w_to-Tiny_mode-image_xfm.h5"),
    ]
    assert np.abs(Chain(steps)(surface()) - forward(surface())).max() < 1e-9
    assert (results / "sub-a" / "anat" / "sub-a_space-subject_T1w.nii.gz").exists()
    # a session without labels gets those of the first
    assert (anat / "sub-a_ses-10_desc-propagated_dseg.nii.gz").exists()
    assert set(read_table(results / "tables" / "propagation.tsv")["participant_id"]) == {"sub-b"}

    total = read_table(results / "tables" / "accumulated.tsv").query("segmentation == 'own' and label == 2")
    # the grown structure lies in the middle of every dose
    assert total.set_index("participant_id")["sessions"].to_dict() == {
        "sub-a": 2, "sub-b": 2, "sub-c": 1, "sub-d": 1,
    }  # fmt: skip
    share = total["mean"].to_numpy() / total["sessions"].to_numpy()
    assert share == pytest.approx(share.mean(), rel=0.1)
    histograms = read_table(results / "tables" / "histograms.tsv")
    assert histograms["volume_share"].max() == 1.0
    report = (results / "report.html").read_text()
    assert "sub-a" in report
    again = snakemake(tmp_path, config)
    assert "Nothing to be done" in again.stdout + again.stderr
