"""The workflow with a person's decisions about members."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regcore.io.nifti import read_image
from regcore.io.tables import read_json
from tests.workflows import config_for, planned, snakemake, write_cohort

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")

DECISIONS = ("e\texclude\tn/a\tcropped", "a\tretry\trigid\tn/a", "b\tkeep\tn/a\tn/a")


def decided(cohort: Path, folder: Path, *rows: str) -> dict[str, Any]:
    """Configuration of a cohort with a table of decisions."""
    table = folder / "overrides.tsv"
    table.write_text("\n".join(["participant\taction\tpreset\treason", *rows]) + "\n")
    return config_for(cohort) | {"qc": {"overrides": str(table), "fewest": 3, "threshold": 0.1}}


def test_unknown_decisions_show_in_a_dry_run(tmp_path: Path) -> None:
    write_cohort(tmp_path, ["a", "b"])
    found = snakemake(tmp_path, decided(tmp_path, tmp_path, "z\tkeep\tn/a\tn/a"), "--dry-run")
    assert found.returncode != 0
    assert "line 2: expected a participant of the cohort, found 'z'" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_decisions_are_honoured_and_rerun_only_what_must(study: Path, tmp_path: Path) -> None:
    """The template is the mean of the members with the weights of qc.tsv, and nothing else.

    The rule is so strict here that it would let nobody weigh in full.
    """
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    config = decided(study, copy, *DECISIONS)
    before = (copy / "overrides.tsv").read_bytes()
    counts = planned(copy, config)
    assert counts["centre_batch"] == 2
    assert not {"warm_cache", "prepare_batch", "template_grid"} & set(counts)
    found = snakemake(copy, config)
    assert found.returncode == 0, found.stderr[-3000:]
    assert (copy / "overrides.tsv").read_bytes() == before
    results = copy / "results"
    qc = pd.read_csv(results / "qc.tsv", sep="\t").set_index("participant_id")
    assert (qc["weight"]["sub-b"], qc["weight"]["sub-e"]) == (1, 0)
    assert qc["reason"][["sub-b", "sub-e"]].tolist() == ["override: keep", "override: exclude"]
    # a retry is judged like any other registration
    assert 0 < qc["weight"]["sub-a"] < 0.8
    assert qc["reason"]["sub-a"].startswith("outlier: ")
    registrations = pd.read_csv(results / "tables" / "registrations.tsv", sep="\t")
    affine = registrations[registrations["stage"] == "affine"].set_index("participant_id")
    assert affine["score"]["sub-b"] > 0.1
    # the retry lets the member turn and move, where the stage stretches all others
    stretch = affine["affine_log_volume"].abs() + affine["affine_log_anisotropy"]
    assert stretch["sub-a"] < 1e-6
    assert stretch["sub-b"] > 0.01
    assert registrations.set_index("participant_id")["label_dice"]["sub-a"].dropna().min() > 0.7
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
    reworded = planned(copy, decided(study, copy, "e\texclude\tn/a\tmoved", *DECISIONS[1:]))
    assert set(reworded) - {"all", "total"} == {"make_report"}
