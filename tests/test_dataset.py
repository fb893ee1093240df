"""Results as other programs read them: the BIDS validator and TemplateFlow's client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regcore.io.nifti import read_image
from regcore.io.tables import read_json
from regcore.study.dataset import IGNORED, describe_dataset
from regcore.study.settings import DatasetSettings

ABOUT = DatasetSettings(("Ada A", "Bo B"), "CC0", ("https://doi.org/10.1038/sdata.2016.44",), "Homo sapiens")


def describe(results: Path) -> None:
    files = {
        "description": results / "dataset_description.json",
        "readme": results / "README.md",
        "ignore": results / ".bidsignore",
        "atlas": results / "atlas-Cohort_description.json",
    }
    describe_dataset(files, "cohort.tsv", "Study", "Cohort", ABOUT)


def test_results_are_valid_bids(
    finished: Path, tmp_path: Path, bids_issues: Callable[[Path], list[dict[str, Any]]]
) -> None:
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    describe(results)
    assert bids_issues(results) == []
    # and the validator does look: a file that BIDS does not know is an error
    (results / "sub-1" / "anat" / "sub-1_T1wx.nii.gz").write_bytes(b"")
    assert {issue["severity"] for issue in bids_issues(results)} == {"error"}


def test_ignored_files_come_with_a_reason(tmp_path: Path) -> None:
    describe(tmp_path)
    lines = (tmp_path / ".bidsignore").read_text().splitlines()
    assert lines[1::2] == list(IGNORED)
    assert all(line.startswith("# ") for line in lines[::2])
    description = read_json(tmp_path / "dataset_description.json")
    assert description["License"] == "CC0"
    assert description["Authors"] == ["Ada A", "Bo B"]


def test_templateflow_reads_the_template(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("templateflow", reason="templateflow is not installed")
    home = tmp_path / "home"
    shutil.copytree(finished / "tpl-Study", home / "tpl-Study")
    script = (
        "from templateflow import api\n"
        "print(api.get('Study', resolution=1, suffix='T1w', desc=None, extension='nii.gz'))\n"
        "print(api.get('Study', desc='foreground', suffix='mask', extension='nii.gz'))\n"
        "print(api.get('Study', atlas='Cohort', suffix='dseg', extension='tsv'))\n"
        "print(*api.templates())\n"
        "print(api.get_metadata('Study')['res']['01']['shape'])\n"
    )
    offline = {"TEMPLATEFLOW_HOME": str(home), "TEMPLATEFLOW_AUTOUPDATE": "off"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ | offline
    )
    assert done.returncode == 0, done.stderr
    image, mask, names, templates, shape = done.stdout.splitlines()
    assert templates == "Study"
    template = read_image(image)
    assert shape == str(list(template.grid.shape))
    assert np.array_equal(template.data, read_image(finished / "tpl-Study" / Path(image).name).data)
    assert Path(mask).name == "tpl-Study_res-01_desc-foreground_mask.nii.gz"
    assert Path(names).name == "tpl-Study_atlas-Cohort_res-01_dseg.tsv"
