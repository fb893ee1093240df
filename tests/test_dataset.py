"""Results as other programs read them: the BIDS validator and TemplateFlow's client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from regcore.image import Image
from regcore.io.nifti import read_image
from regcore.io.tables import read_json, write_json
from regcore.study.channels import ChannelSums, publish_channel_templates
from regcore.study.dataset import IGNORED, describe_dataset, template_description
from regcore.study.outputs import Layout
from regcore.study.settings import DatasetSettings, StrataSettings
from regcore.study.strata import stratum_template
from regcore.study.stratify import stratify
from regcore.transforms import identity

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


@pytest.fixture(scope="module")
def home(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TEMPLATEFLOW_HOME with the template, two conditional templates and one of a further modality."""
    folder = tmp_path_factory.mktemp("conditional")
    shutil.copytree(finished, folder / "results", ignore=shutil.ignore_patterns("work"))
    layout, before = Layout(folder / "results"), finished / "work"
    keys = ["sub-1", "sub-2", "sub-3"]
    people = {key: {"age": age} for key, age in zip(keys, (20, 30, 40), strict=True)}
    strata = stratify(StrataSettings("age", bins=(20, 30, 50)), people)
    for stratum in strata:
        prepared, files = [before / "prepared" / key for key in keys], layout.stratum(stratum.number)
        stratum_template(stratum, prepared, [before / "population" / "all"], files, layout.work, layout)
    sums, template = ChannelSums(), read_image(layout.template_image)
    for key in keys[:2]:
        image = read_image(layout.warped(key))
        sums.add({"T2w": Image(1 - image.data, image.grid)}, template.grid, identity())
    sums.write(folder / "sums")
    publish_channel_templates([folder / "sums"], layout)
    write_json(layout.template_description, template_description("Study", 3, template, ABOUT, strata))
    shutil.copytree(folder / "results" / "tpl-Study", folder / "home" / "tpl-Study")
    return folder / "home"


IMAGES = {
    "desc=None, cohort=None, suffix='T1w'": "res-01_T1w",
    "desc='foreground', cohort=None, suffix='mask'": "res-01_desc-foreground_mask",
    "atlas='Cohort', suffix='dseg'": "atlas-Cohort_res-01_dseg",
    "atlas=None, suffix='dseg'": "res-01_dseg",
    "atlas='Cohort', desc=None, suffix='probseg'": "atlas-Cohort_res-01_probseg",
    "atlas='Cohort', desc='confidence', suffix='probseg'": "atlas-Cohort_res-01_desc-confidence_probseg",
    "desc=None, suffix='T2w'": "res-01_T2w",
    "desc='variance', suffix='T2w'": "res-01_desc-variance_T2w",
    "cohort=1, desc=None, suffix='T1w'": "cohort-1_res-01_T1w",
    "cohort=2, desc=None, suffix='T1w'": "cohort-2_res-01_T1w",
    "cohort=2, desc='foreground', suffix='mask'": "cohort-2_res-01_desc-foreground_mask",
}
"""What TemplateFlow's client is asked for, and the one image that it has to answer with."""


def test_templateflow_reads_the_template(home: Path) -> None:
    pytest.importorskip("templateflow", reason="templateflow is not installed")
    script = [
        "from templateflow import api",
        *(f"print(api.get('Study', resolution=1, extension='nii.gz', {asked}))" for asked in IMAGES),
        "print(api.get('Study', atlas='Cohort', suffix='dseg', extension='tsv'))",
        "print(*api.templates())",
        "about = api.get_metadata('Study')",
        "print(about['res']['01']['shape'])",
        "print([about['cohort'][number]['age'] for number in '12'])",
    ]
    offline = {"TEMPLATEFLOW_HOME": str(home), "TEMPLATEFLOW_AUTOUPDATE": "off"}
    command = [sys.executable, "-c", "\n".join(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | offline)
    assert done.returncode == 0, done.stderr
    *files, names, templates, shape, ages = done.stdout.splitlines()
    assert [Path(file).name for file in files] == [f"tpl-Study_{name}.nii.gz" for name in IMAGES.values()]
    found = {name: nibabel.load(file) for name, file in zip(IMAGES.values(), files, strict=True)}
    template = read_image(home / "tpl-Study" / "tpl-Study_res-01_T1w.nii.gz")
    assert np.array_equal(found["res-01_T1w"].get_fdata(dtype=np.float32), template.data)
    for name, image in found.items():
        assert image.shape == (*template.grid.shape, 2)[: 4 if name == "atlas-Cohort_res-01_probseg" else 3]
        assert np.allclose(image.affine, template.grid.affine)
    young, old = (found[f"cohort-{number}_res-01_T1w"].get_fdata() for number in (1, 2))
    assert np.abs(young - old).max() > 0.01
    assert Path(names).name == "tpl-Study_atlas-Cohort_res-01_dseg.tsv"
    assert templates == "Study"
    assert shape == str(list(template.grid.shape))
    assert ages == "[[20, 30], [30, 50]]"
