"""What outputs say about the people in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from regcore.cli import main
from regcore.errors import InputError
from regcore.image import Image
from regcore.io.nifti import read_image, write_image
from regcore.io.nifti_writer import write_volumes
from regcore.space import Grid
from regcore.study import Plan
from regcore.study.outputs import Layout
from regcore.study.prepare import prepare_image
from regcore.study.settings import PrepareSettings

GRID = Grid((12, 13, 11), np.diag([2.0, 2.0, 2.0, 1.0]))
TEXTS = ("descrip", "intent_name", "aux_file", "db_name", "data_type")


def ramp() -> np.ndarray:
    return np.arange(np.prod(GRID.shape), dtype=np.float32).reshape(GRID.shape)


def test_header_text_of_inputs_reaches_no_output(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ramp(), GRID.affine)
    for name in TEXTS[:3]:
        image.header[name] = b"Jane Doe"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"Jane Doe, 1970-01-01"))
    nibabel.save(image, tmp_path / "in.nii.gz")
    read = read_image(tmp_path / "in.nii.gz")
    write_image(tmp_path / "out.nii.gz", read)
    write_volumes(tmp_path / "many.nii.gz", GRID, [read.data > 3] * 2, 2)
    for name in ("out.nii.gz", "many.nii.gz"):
        written = nibabel.load(tmp_path / name)
        assert all(bytes(written.header[text]).strip(b"\0") == b"" for text in TEXTS)
        assert len(written.header.extensions) == 0
        assert b"Jane" not in bytes(written.to_bytes())


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Folder with a cohort of three, one of them with two sessions, and a secret."""
    rows = ["participant_id\tsession_id\timage\tlabels\tage"]
    for name, session in (("Jane", "n/a"), ("John", "1"), ("John", "2"), ("Joe", "n/a")):
        file = tmp_path / f"{name}{session.replace('/', '')}.nii"
        file.write_bytes(b"-")
        rows.append(f"sub-{name}\t{session}\t{file.name}\t{file.name}\t40")
    (tmp_path / "cohort.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "secret").write_text("a secret of many letters\n")
    return tmp_path


def plan_of(folder: Path, **more: Any) -> Plan:
    return Plan.from_config(
        {
            "cohort": {"source": str(folder / "cohort.tsv")},
            "template": {"stages": [{"name": "affine", "linear": [{}]}]},
            "privacy": {"pseudonym_secret": str(folder / "secret")},
            **more,
        }
    )


def test_pseudonyms_are_all_that_outputs_see(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pseudonyms", str(cohort / "cohort.tsv"), str(cohort / "secret")]) == 0
    listed = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    plan = plan_of(
        cohort,
        targets=["template", "atlas", "pairwise"],
        atlas={
            "participants": ["Jane", "sub-Joe"],
            "route": "template_library",
            "template_library": ["John"],
        },
        pairwise={"reference": "sub-John_ses-2"},
    )
    assert {key.partition("_")[0] for key in plan.keys} == set(listed.values()) - {"pseudonym"}
    assert sorted(plan.keys) == plan.keys
    said = repr((plan.keys, plan.covariates(), plan.image_by_member(), plan.study, plan.pair_batches))
    said += repr([(atlas.key, plan.library) for atlas in plan.atlases]) + repr(plan.template_library)
    said += repr([Layout(Path("results")).forward(key) for key in plan.keys])
    for name in ("Jane", "John", "Joe"):
        assert name not in said.replace(str(cohort), "")
    assert {atlas.key for atlas in plan.atlases} == {listed["sub-Jane"], listed["sub-Joe"]}
    assert plan.template_library == [f"{listed['sub-John']}_ses-{session}" for session in "12"]


def test_decisions_may_name_people_or_their_pseudonyms(cohort: Path) -> None:
    keys = plan_of(cohort).keys
    other = next(key for key in keys if "_" not in key)
    table = cohort / "overrides.tsv"
    table.write_text("participant\taction\nJohn_ses-1\texclude\n" + f"{other}\tkeep\n")
    plan = plan_of(cohort, qc={"overrides": str(table)})
    assert len(plan.overrides) == 2
    assert set(plan.overrides) <= set(keys)
    assert "John" not in repr((plan.overrides, plan.override_rows))


def test_a_new_member_leaves_the_pseudonyms_alone(cohort: Path) -> None:
    before = set(plan_of(cohort).keys)
    (cohort / "Ann.nii").write_bytes(b"-")
    with (cohort / "cohort.tsv").open("a") as table:
        table.write("sub-Ann\tn/a\tAnn.nii\tn/a\t41\n")
    assert before < set(plan_of(cohort).keys)
    (cohort / "secret").write_text("another secret of many letters\n")
    assert not before & set(plan_of(cohort).keys)


def test_a_secret_that_is_none(cohort: Path) -> None:
    (cohort / "secret").write_text("short")
    with pytest.raises(InputError, match="expected a secret of 16 to 4096 bytes, found 5"):
        plan_of(cohort)


def test_brain_only_leaves_nothing_else() -> None:
    mask = np.zeros(GRID.shape, np.uint8)
    mask[3:9, 3:9, 3:9] = 1
    image, _ = prepare_image(Image(ramp(), GRID), Image(mask, GRID), PrepareSettings(brain_only=True))
    assert not image.data[mask == 0].any()
    assert image.data[mask != 0].any()
