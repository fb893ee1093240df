"""The study's configuration, plan and stages, without Snakemake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.cohort import Member
from regcore.io.itk import read_transform
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import read_json, write_json
from regcore.registration import RegistrationSettings
from regcore.space import Grid
from regcore.study.atlas import through_template
from regcore.study.config import PrepareSettings, Study, TemplateStage
from regcore.study.gather import gather_template
from regcore.study.manifest import good, read_manifest, set_aside, write_manifest
from regcore.study.plan import Plan
from regcore.study.prepare import prepare_member
from regcore.study.quarantine import check_strict, list_quarantine
from regcore.study.template import PASSED, centre_batch, register_batch, template_grid
from regcore.study.warm import tiny_study
from regcore.transforms import Affine, Chain, Displacement

ROOT = Path(__file__).parents[1]
STAGES = {"stages": [{"name": "affine", "repeats": 2, "linear": [{}]}]}
SOURCE = {"cohort": {"source": "cohort.tsv"}, "template": STAGES}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Cohort of six members whose images are not looked at; half of them have labels."""
    rows = ["participant_id\timage\tlabels\tage"]
    for number in range(1, 7):
        image = tmp_path / f"{number}.nii"
        image.write_bytes(b"-")
        rows.append(
            f"sub-{number:02d}\t{number}.nii\t{f'{number}.nii' if number < 4 else 'n/a'}\t{20 + number}"
        )
    path = tmp_path / "cohort.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def plan_of(table: Path, **config: Any) -> Plan:
    return Plan.from_config({"cohort": {"source": str(table)}, "template": STAGES, **config})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": 0}, "config threads: expected at least 1, found 0"),
        ({"thread": 2}, "config thread: expected a known key (did you mean threads?), found an unknown one"),
        ({"strict": "yes"}, "config strict: expected true or false, found 'yes'"),
        ({"targets": ["all"]}, "config targets[0]: expected one of pairwise, template"),
        ({"template": {"stop_mm": 0}}, "config template.stop_mm: expected more than 0, found 0"),
        ({"template": {"name": "my_name"}}, "config template.name: expected letters and digits"),
        (
            {"template": {"stages": [{"name": "a", "linear": [{"model": "elastic"}]}]}},
            "config template.stages[0].linear.model: expected one of translation",
        ),
        ({"template": {}}, "config template.stages: expected at least one iteration, found none"),
        ({"template": {"stages": [{"name": "a"}]}}, "expected a linear or a deformable registration"),
        (
            {"template": {"stages": [{"name": "a", "linear": [{}]}, {"name": "a", "linear": [{}]}]}},
            "expected each name once",
        ),
        ({"prepare": {"winsorise_percent": [99, 1]}}, "expected the lower value first"),
        ({"prepare": {"winsorise_percent": [1]}}, "expected at least 2 entries"),
        ({"atlas": {"registration": "fast"}}, "config atlas.registration.preset: expected one of"),
        ({"atlas": {"radius_vox": 1.5}}, "config atlas.radius_vox: expected a whole number, found 1.5"),
        ({"targets": ["atlas"]}, "config atlas.participants: expected participants or a table of atlases"),
        ({"targets": ["pairwise"]}, "config pairwise.reference: expected a reference or a table of pairs"),
        ({"cohort": {}}, "config cohort.source: expected a value, found none"),
    ],
)
def test_config_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Study.from_dict({**SOURCE, **change})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_config_file_holds_every_default() -> None:
    written = yaml.safe_load((ROOT / "config.yaml").read_text())
    stages = {"stages": written["template"]["stages"]}
    assert Study.from_dict(written) == Study.from_dict({"cohort": written["cohort"], "template": stages})


def test_config_file_names_every_key() -> None:
    written = yaml.safe_load((ROOT / "config.yaml").read_text())
    schema = read_json(ROOT / "regcore" / "study" / "config.schema.json")["properties"]
    assert set(written) == set(schema)
    for section, values in written.items():
        if isinstance(values, dict):
            assert set(values) == set(schema[section]["properties"]), section


def test_plan_of_a_template(table: Path) -> None:
    plan = plan_of(table)
    assert plan.keys == [f"sub-{number:02d}" for number in range(1, 7)]
    assert plan.before("01") == "00"
    assert plan.tables == ["registrations", "convergence", "volumes", "jacobians"]
    assert len(plan.iterations) == len(plan.study.template.iterations)
    assert plan.memory_mb(2) == pytest.approx(2 * plan.memory_mb(1), abs=1)


def test_plan_batches(table: Path) -> None:
    assert list(plan_of(table).batches) == plan_of(table).keys
    assert [len(each) for each in plan_of(table, batch_size=4).batches.values()] == [4, 2]


def test_plan_of_atlases(table: Path) -> None:
    plan = plan_of(table, targets=["atlas"], atlas={"participants": ["01", "sub-02"]})
    assert list(plan.atlas_batches) == ["sub-03", "sub-04", "sub-05", "sub-06"]
    assert plan.uses_template
    assert "overlap" in plan.tables
    alone = plan_of(table, targets=["atlas"], atlas={"participants": ["01"], "start": "none"})
    assert not alone.uses_template
    with pytest.raises(InputError, match="expected sub-05 to have labels"):
        plan_of(table, targets=["atlas"], atlas={"participants": ["05"]})
    with pytest.raises(InputError, match="expected a participant of the cohort, found '9'"):
        plan_of(table, targets=["atlas"], atlas={"participants": ["9"]})


def test_plan_of_atlases_from_a_table(table: Path) -> None:
    atlases = table.parent / "atlases.tsv"
    atlases.write_text("atlas_id\timage\tlabels\nA\t1.nii\t2.nii\n")
    plan = plan_of(table, targets=["atlas"], atlas={"table": str(atlases)})
    assert plan.atlas_prepared("sub-03") == ["prepared/sub-03", "library/atlas-A"]
    atlases.write_text("atlas_id\timage\tlabels\nA\t1.nii\tnone.nii\n")
    with pytest.raises(InputError, match="row 2 labels: expected a file"):
        plan_of(table, targets=["atlas"], atlas={"table": str(atlases)})


def test_plan_of_pairs(table: Path) -> None:
    pairs = table.parent / "pairs.tsv"
    pairs.write_text(f"fixed\tmoving\nsub-01\tsub-02\n{table.parent / '3.nii'}\t04\n")
    plan = plan_of(table, targets=["pairwise"], pairwise={"pairs": str(pairs)})
    assert list(plan.pair_batches) == ["sub-02_to-01", "sub-04_to-3"]
    assert plan.pair_members("sub-04_to-3") == ["sub-04"]
    assert plan.tables == ["registrations", "volumes"]
    reference = plan_of(table, targets=["pairwise"], pairwise={"reference": "01"})
    assert len(reference.pair_batches) == 5


def test_covariates_do_not_reach_the_jobs(table: Path) -> None:
    before = plan_of(table).member("sub-01")
    table.write_text(table.read_text().replace("\t21", "\t99"))
    assert plan_of(table).member("sub-01") == before
    assert plan_of(table).covariates()[0]["age"] == 99


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    tiny_study(root)
    return root / "results"


def test_stages_publish(finished: Path) -> None:
    template = read_image(finished / "tpl-Study" / "tpl-Study_T1w.nii.gz")
    anat = finished / "sub-3" / "anat"
    warped = read_image(anat / "sub-3_space-Study_desc-preproc_T1w.nii.gz")
    assert warped.grid.matches(template.grid)
    assert np.corrcoef(warped.data.ravel(), template.data.ravel())[0, 1] > 0.95
    certificate = read_json(finished / "tpl-Study" / "tpl-Study_desc-bias_certificate.json")
    assert certificate["mean_displacement_rms_mm"] < 0.02
    assert certificate["mean_log_affine_rms_mm"] < 1e-6
    labels = read_labels(anat / "sub-3_atlas-Cohort_dseg.nii.gz")
    assert sorted(np.unique(labels.data)) == [0, 1, 2]
    names = pd.read_csv(anat / "sub-3_atlas-Cohort_dseg.tsv", sep="\t")
    assert names["index"].tolist() == [1, 2]


def test_published_transforms_are_inverse(finished: Path) -> None:
    anat = finished / "sub-2" / "anat"
    forward = read_transform(anat / "sub-2_from-T1w_to-Study_mode-image_xfm.h5")
    backward = read_transform(anat / "sub-2_from-Study_to-T1w_mode-image_xfm.h5")
    points = np.random.default_rng(0).uniform(6, 18, (50, 3))
    assert np.abs(backward(forward(points)) - points).max() < 0.05


def test_overlap_is_measured(finished: Path) -> None:
    overlap = pd.read_csv(finished / "work" / "measured" / "all" / "overlap.tsv", sep="\t")
    assert overlap["dice"].min() > 0.7


def test_through_template() -> None:
    grid = Grid((12, 12, 12), np.eye(4))
    bump = np.zeros((12, 12, 12, 3), np.float32)
    bump[4:8, 4:8, 4:8, 0] = 0.5
    atlas = Chain((Affine.from_parameters(translation=(2, 0, 0)), Displacement(bump, grid)))
    member = Chain((Displacement(-bump, grid), Affine.from_parameters(translation=(0, 1, 0))))
    found = through_template(atlas, member, grid)
    points = grid.to_world(np.argwhere(np.ones((12, 12, 12))))
    assert np.abs(found(points) - atlas(member(points))).max() < 1e-4
    # the displacement holds no part of the affines
    assert np.abs(found.transforms[0].matrix[:3, 3] - (2, 1, 0)).max() < 1e-9


def test_bad_images_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "zero.nii"
    write_image(path, Image(np.zeros((16, 16, 16), np.float32), Grid((16, 16, 16), np.eye(4))))
    prepare_member(Member("zero", None, path), tmp_path / "prepared", PrepareSettings())
    entry = read_manifest(tmp_path / "prepared")["sub-zero"]
    assert entry["status"] == "quarantined"
    assert "the value 0 in every voxel" in entry["reason"]
    with pytest.raises(InputError, match="expected at least one usable image"):
        template_grid([tmp_path / "prepared"], tmp_path / "grid.json", None)


def test_quarantine_table(tmp_path: Path) -> None:
    write_manifest(tmp_path / "a", {"sub-01": good(), "sub-02_ses-1": set_aside("prepare", "empty")})
    write_manifest(tmp_path / "b", {"sub-02_ses-1": set_aside("prepare", "empty")})
    output = tmp_path / "quarantine.tsv"
    list_quarantine([tmp_path / "a", tmp_path / "b"], {"sub-02_ses-1": "image.nii"}, output)
    rows = pd.read_csv(output, sep="\t")
    assert rows.to_dict("records") == [
        {
            "participant_id": "sub-02",
            "session_id": "ses-1",
            "image": "image.nii",
            "stage": "prepare",
            "reason": "empty",
        }
    ]
    with pytest.raises(InputError, match="found 1: sub-02"):
        check_strict(output, tmp_path / "strict.json")


def test_converged_stage_passes_through(finished: Path, tmp_path: Path) -> None:
    """An iteration of a stage that has stopped repeats the one before, and the table says so."""
    work = finished / "work"
    prepared = [work / "prepared" / f"sub-{number}" for number in (1, 2, 3)]
    stage = TemplateStage("affine", 3, RegistrationSettings.from_dict({"deformable": None}))
    still = tmp_path / "template" / "01"
    still.mkdir(parents=True)
    for file in (work / "template" / "01").iterdir():
        (still / file.name).write_bytes(file.read_bytes())
    state = read_json(still / "convergence.json") | {"stopped": "affine"}
    write_json(still / "convergence.json", state)
    output = tmp_path / "register" / "02"
    register_batch(prepared, work / "register" / "01", still, output, stage)
    assert (output / PASSED).exists()
    assert read_manifest(output) == read_manifest(work / "register" / "01")


def test_batches_do_not_change_the_template(finished: Path, tmp_path: Path) -> None:
    """Partial sums of single members add up to the sum of the batch."""
    work = finished / "work"
    folders = []
    for number in (1, 2, 3):
        folders.append(tmp_path / "register" / f"sub-{number}")
        centre_batch([work / "prepared" / f"sub-{number}"], work / "grid.json", folders[-1])
    gather_template(folders, [], tmp_path / "00", 0, "centre", True, 0.05)
    alone = read_image(tmp_path / "00" / "template.nii.gz").data
    together = read_image(work / "template" / "00" / "template.nii.gz").data
    assert np.abs(alone - together).max() < 1e-6
