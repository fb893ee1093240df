"""The study's configuration, plan and stages, without Snakemake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
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
from regcore.study.config import Study
from regcore.study.gather import gather_template
from regcore.study.integrity import seal_folder
from regcore.study.manifest import good, read_manifest, set_aside, write_manifest
from regcore.study.plan import Plan
from regcore.study.prepare import prepare_batch
from regcore.study.quarantine import check_strict, list_quarantine
from regcore.study.settings import PrepareSettings, TemplateStage
from regcore.study.template import PASSED, centre_batch, register_batch, template_grid

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
            {"template": {"name": "a\n"}},
            r"config template.name: expected letters and digits, at most 64, found 'a\n'",
        ),
        ({"template": {"name": 65 * "a"}}, "config template.name: expected letters and digits, at most 64"),
        ({"results": "a\n"}, "config results: expected a path of at most 4000 characters"),
        (
            {"cohort": {"source": "a", "channels": {"T2\n": {}}}},
            r"config cohort.channels: expected names of letters and digits, at most 64, found 'T2\n'",
        ),
        (
            {"template": {"stages": [{"name": "a", "linear": [{"model": "elastic"}]}]}},
            "config template.stages[0].linear.model: expected one of translation",
        ),
        ({"template": {}}, "config template.stages: expected at least one iteration, found none"),
        (
            {"template": {"stages": [{"name": name, "repeats": 50, "linear": [{}]} for name in "ab"]}},
            "config template.stages: expected at most 99 iterations, found 100",
        ),
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
    stages = {name: {"stages": written[name]["stages"]} for name in ("template", "sessions")}
    assert Study.from_dict(written) == Study.from_dict({"cohort": written["cohort"], **stages})


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
    assert plan.tables == [
        "registrations",
        "convergence",
        "influence",
        "volumes",
        "jacobians",
        "consistency",
    ]
    assert len(plan.iterations) == len(plan.study.template.iterations)
    job = "register_batch/01_sub-01"
    assert plan.memory_mb(job, 3) == 2 * plan.memory_mb(job, 2) == 4 * plan.memory_mb(job, 1)
    assert plan.minutes(job, 2) == 2 * plan.minutes(job, 1)


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


def test_plan_of_a_template_library(table: Path) -> None:
    asked = {"participants": ["01", "02"], "route": "template_library", "template_library": 2}
    plan = plan_of(table, targets=["atlas", "tables"], atlas=asked)
    # evenly spread over those that are no atlases
    assert plan.template_library == ["sub-04", "sub-06"]
    assert (plan.ways, plan.candidates) == (2, 4)
    assert plan.folders("template_library") == ["template_library/sub-04", "template_library/sub-06"]
    assert "prepared/sub-04" in plan.atlas_prepared(["sub-03"])
    named = plan_of(table, targets=["atlas"], atlas=asked | {"template_library": ["sub-05"]})
    assert named.template_library == ["sub-05"]
    assert plan_of(table, targets=["atlas"], atlas={"participants": ["01"]}).template_library == []


def test_plan_of_a_validation(table: Path) -> None:
    plan = plan_of(table, targets=["atlas", "tables"], atlas={"participants": ["01", "02"]})
    assert plan.validated_atlases == ["sub-01", "sub-02"]
    assert "atlas_validation" in plan.tables
    assert plan.study.atlas.validated == ("majority", "local", "staple", "joint")
    some = {"participants": ["01", "02"], "validation": ["majority"], "fusion": "staple"}
    assert plan_of(table, targets=["atlas"], atlas=some).study.atlas.validated == ("majority", "staple")
    for none in ({"participants": ["01"]}, {"participants": ["01", "02"], "validation": []}):
        without = plan_of(table, targets=["atlas", "tables"], atlas=none)
        assert without.validated_atlases == []
        assert "atlas_validation" not in without.tables


def test_plan_of_atlases_from_a_table(table: Path) -> None:
    atlases = table.parent / "atlases.tsv"
    atlases.write_text("atlas_id\timage\tlabels\nA\t1.nii\t2.nii\n")
    plan = plan_of(table, targets=["atlas"], atlas={"table": str(atlases)})
    assert plan.atlas_prepared(["sub-03"]) == ["prepared/sub-03", "library/atlas-A"]
    assert plan.image_by_member()["atlas-A"] == str(table.parent / "1.nii")
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
    like_template = table.parent / "Study.nii"
    like_template.write_bytes((table.parent / "3.nii").read_bytes())
    with pytest.raises(InputError, match="other names than the template's"):
        _ = plan_of(table, targets=["pairwise"], pairwise={"reference": str(like_template)}).pair_batches


def test_covariates_do_not_reach_the_jobs(table: Path) -> None:
    before = plan_of(table).sources("sub-01")
    table.write_text(table.read_text().replace("\t21", "\t99"))
    assert plan_of(table).sources("sub-01") == before
    assert plan_of(table).covariates()[0]["age"] == 99


def test_stages_publish(finished: Path) -> None:
    template = read_image(finished / "tpl-Study" / "tpl-Study_res-01_T1w.nii.gz")
    anat = finished / "sub-3" / "anat"
    warped = read_image(anat / "sub-3_space-Study_desc-preproc_T1w.nii.gz")
    assert warped.grid.matches(template.grid)
    assert np.corrcoef(warped.data.ravel(), template.data.ravel())[0, 1] > 0.95
    certificate = read_json(finished / "tpl-Study" / "tpl-Study_res-01_desc-bias_certificate.json")
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


def test_accuracy_is_stated(finished: Path) -> None:
    """An atlas labelled by the other, through a template library, beside its own labels."""
    rows = pd.read_csv(finished / "work" / "validation" / "sub-1" / "atlas_validation.tsv", sep="\t")
    assert rows["fusion"].unique().tolist() == ["majority", "local", "staple", "joint"]
    assert rows["label"].tolist() == [1, 2] * 4
    assert rows["dice"].min() > 0.6
    assert (rows["surface_distance_mm"] <= rows["hausdorff95_mm"]).all()
    expected = 100 * (rows["volume_mm3"] / rows["reference_volume_mm3"] - 1)
    np.testing.assert_allclose(rows["volume_bias_percent"], expected, atol=1e-3)
    assert rows["confidence_mean"].between(0, 1).all()
    volumes = pd.read_csv(finished / "work" / "measured" / "all" / "volumes.tsv", sep="\t")
    assert volumes.groupby("segmentation")["confidence_mean"].count().to_dict() == {"atlas": 2, "own": 0}


def test_priors_are_published(finished: Path) -> None:
    stem = finished / "tpl-Study" / "tpl-Study_atlas-Cohort_res-01"
    image = nibabel.load(f"{stem}_probseg.nii.gz")
    probabilities = image.get_fdata()
    template = read_image(finished / "tpl-Study" / "tpl-Study_res-01_T1w.nii.gz")
    assert probabilities.shape == (*template.grid.shape, 2)
    assert np.unique(probabilities).tolist() == [0.0, 0.5, 1.0]
    assert probabilities.sum(axis=3).max() == 1.0
    assert read_json(Path(f"{stem}_probseg.json"))["LabelMap"] == ["label-1", "label-2"]
    labels = read_labels(f"{stem}_dseg.nii.gz")
    for volume, label in enumerate((1, 2)):
        assert (labels.data[probabilities[..., volume] == 1] == label).all()


def test_bad_images_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "zero.nii"
    write_image(path, Image(np.zeros((16, 16, 16), np.float32), Grid((16, 16, 16), np.eye(4))))
    prepare_batch([Member("zero", None, path)], tmp_path / "prepared", PrepareSettings())
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
    seal_folder(still)
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
