"""Cohorts and tables: what is found, and how each mistake is named."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regcore.errors import InputError
from regcore.io.bids import label_names_file
from regcore.io.cohort import identifier, read_cohort, typed
from regcore.io.label_tables import read_label_table
from regcore.io.tables import read_json, read_table, read_text, write_json, write_table, write_text


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"-")
    return path


@pytest.fixture
def bids(tmp_path):
    root = tmp_path / "bids"
    for subject in ("01", "02", "10"):
        touch(root / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz")
        touch(root / f"sub-{subject}/anat/sub-{subject}_T2w.nii.gz")
        touch(root / f"sub-{subject}/func/sub-{subject}_task-rest_bold.nii.gz")
    for session in ("a", "b"):
        touch(root / f"sub-03/ses-{session}/anat/sub-03_ses-{session}_T1w.nii")
    labels = root / "derivatives/seg"
    touch(labels / "sub-01/anat/sub-01_desc-muse_dseg.nii.gz")
    touch(labels / "sub-01/anat/sub-01_desc-other_dseg.nii.gz")
    touch(labels / "sub-01/anat/sub-01_space-MNI_desc-muse_dseg.nii.gz")
    touch(labels / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    touch(labels / "sub-03/ses-b/anat/sub-03_ses-b_desc-muse_dseg.nii.gz")
    write_text(labels / "desc-muse_dseg.tsv", "index\tname\tvolume\n1\tleft\t3\n2\tright\t4\n")
    write_text(
        root / "participants.tsv",
        "participant_id\tage\tsex\tsite\nsub-01\t40\tM\t007\nsub-03\tn/a\tF\t012\nsub-99\t7.5\tM\t1\n",
    )
    write_text(root / "sub-03/sub-03_sessions.tsv", "session_id\tage\nses-a\t50\nses-b\t52\n")
    return root


def test_bids_folder(bids):
    members = read_cohort(
        bids, labels_from="derivatives/seg", labels_description="muse", masks_from="derivatives/seg"
    )
    assert [member.key for member in members] == [
        "sub-01",
        "sub-02",
        "sub-03_ses-a",
        "sub-03_ses-b",
        "sub-10",
    ]
    first, second, _, last_session, _ = members
    assert first.image == bids / "sub-01/anat/sub-01_T1w.nii.gz"
    assert first.labels.name == "sub-01_desc-muse_dseg.nii.gz"
    assert first.mask.name == "sub-01_desc-brain_mask.nii.gz"
    assert first.covariates == {"age": 40.0, "sex": "M", "site": "007"}
    assert (second.labels, second.mask, second.covariates) == (None, None, {})
    assert last_session.labels.parent.parent.name == "ses-b"
    assert last_session.covariates == {"age": 52, "sex": "F", "site": "012"}
    assert len(read_cohort(bids, "T2w")) == 3
    names = label_names_file(first.labels)
    assert names == bids / "derivatives/seg/desc-muse_dseg.tsv"
    assert read_label_table(names).names == {1: "left", 2: "right"}
    assert label_names_file(first.image) is None


def test_several_runs_need_a_choice(bids):
    for run in (1, 2):
        touch(bids / f"sub-04/anat/sub-04_run-{run}_T1w.nii.gz")
        touch(bids / f"derivatives/seg/sub-04/anat/sub-04_run-{run}_desc-muse_dseg.nii.gz")
    with pytest.raises(InputError, match=r"sub-04: expected one T1w image, found 2 \(sub-04_run-1_T1w"):
        read_cohort(bids)
    members = read_cohort(
        bids, labels_from="derivatives/seg", labels_description="muse", entities={"run": "2"}
    )
    assert [member.key for member in members] == ["sub-04"]
    assert "run-2" in members[0].labels.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suffix": "FLAIR"}, "sub-*_FLAIR.nii.gz"),
        ({"labels_from": "derivatives/none"}, "derivatives/none: expected a folder"),
        ({"labels_from": "derivatives/seg", "labels_description": "x"}, "expected a labels image"),
        ({"labels_from": "derivatives/seg"}, "expected one dseg image, found 2"),
    ],
)
def test_bids_mistakes(bids, arguments, message):
    with pytest.raises(InputError) as caught:
        read_cohort(bids, **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unsafe_folder_names(bids):
    touch(bids / "sub-0 1;rm/anat/sub-0 1;rm_T1w.nii.gz")
    with pytest.raises(InputError, match="letters, digits and"):
        read_cohort(bids)


HEADER = "participant_id\tsession_id\timage\tmask\tage\n"


def test_table(tmp_path):
    for name in ("a.nii", "b.nii", "mask.nii"):
        touch(tmp_path / "images" / name)
    path = tmp_path / "cohort.tsv"
    rows = f"sub-b\tses-1\timages/b.nii\timages/mask.nii\t3\n\na\tn/a\t{tmp_path}/images/a.nii\t\tn/a\n"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + rows).replace("\n", "\r\n").encode())
    first, second = read_cohort(path)
    assert (first.key, second.key) == ("sub-a", "sub-b_ses-1")
    assert (first.mask, first.covariates) == (None, {"age": None})
    assert second.mask == tmp_path / "images/mask.nii"
    (tmp_path / "cohort.csv").write_text("participant_id,image\na,images/a.nii\n")
    assert read_cohort(tmp_path / "cohort.csv")[0].participant == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header row"),
        (HEADER, "a row for each image"),
        ("participant_id\tage\n01\t3\n", "expected the column image"),
        ("participant_id\timage\timage\n01\ta.nii\ta.nii\n", "each column named once"),
        (HEADER + "01\t\ta.nii\n", "line 2: expected 5 cells, found 3"),
        (HEADER + "01\t\tnone.nii\t\t3\n", "line 2: expected the image file"),
        (HEADER + "01\t\t\t\t3\n", "line 2: expected the path of an image"),
        (HEADER + "01\t\ta.nii\tnone.nii\t3\n", "line 2: expected the mask file"),
        (
            HEADER + "01\t\ta.nii\t\t3\nsub-01\t\ta.nii\t\t3\n",
            "line 3: expected each participant",
        ),
        (HEADER + "../01\t\ta.nii\t\t3\n", "letters, digits and +"),
        (HEADER + "sub-\t\ta.nii\t\t3\n", "letters, digits and +"),
        (HEADER + "01\t1 2\ta.nii\t\t3\n", "letters, digits and + as ses-"),
        (HEADER + "0\u0661\t\ta.nii\t\t3\n", "letters, digits and +"),
        (HEADER + '01\t\t"a\n.nii"\t\t3\n', "line 3: expected a printable path"),
    ],
)
def test_table_mistakes(tmp_path, text, message):
    touch(tmp_path / "a.nii")
    (tmp_path / "cohort.tsv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_cohort(tmp_path / "cohort.tsv")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "cohort.tsv"))
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=20))
def test_identifiers_are_safe_or_refused(text):
    try:
        safe = identifier(text, "sub-", "cohort.tsv, line 2")
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert safe.replace("+", "a").isalnum()
        assert safe.isascii()
    assert "\n" not in message


def test_bytes_that_are_not_text(tmp_path):
    (tmp_path / "cohort.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_cohort(tmp_path / "cohort.tsv")
    with pytest.raises(InputError, match="nothing there"):
        read_cohort(tmp_path / "none")


def test_covariate_types():
    assert typed(["1", "2"]) == [1, 2]
    assert typed(["1e3", ""]) == [1000.0, None]
    assert typed(["inf", "1"]) == ["inf", "1"]
    assert typed(["n/a", "n/a"]) == [None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\n1\n", "column name"),
        ("index\tname\n1.5\ta\n", "whole number"),
        ("index\tname\n1\ta\n1\tb\n", "once"),
    ],
)
def test_label_name_mistakes(tmp_path, text, message):
    (tmp_path / "dseg.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_label_table(tmp_path / "dseg.tsv")


def test_reading_a_cohort_opens_no_image_and_loads_little(tmp_path):
    for number in range(300):
        touch(tmp_path / f"sub-{number:05d}/anat/sub-{number:05d}_T1w.nii.gz")
    # these are no images at all
    assert len(read_cohort(tmp_path)) == 300
    code = "import sys, regcore.io.cohort; print({'numba', 'pandas', 'nibabel', 'h5py'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


def test_tables(tmp_path):
    path = tmp_path / "tables" / "a.tsv"
    frame = pandas.DataFrame(
        {
            "participant_id": ["007", "8"],
            "name": ["NA", None],
            "volume": [1 / 3, np.nan],
            "label": [1, 2],
            "age": [40, 41],
        }
    )
    write_table(path, frame, {"volume": {"Description": "Volume", "Units": "mm^3"}})
    assert path.read_text() == (
        "participant_id\tname\tvolume\tlabel\tage\n007\tNA\t0.333333\t1\t40\n8\tn/a\tn/a\t2\t41\n"
    )
    assert list(read_json(path.with_suffix(".json"))) == list(frame.columns)
    read = read_table(path)
    assert read["participant_id"].tolist() == ["007", "8"]
    assert read["name"][0] == "NA"
    assert read["name"].isna().tolist() == [False, True]
    assert read["label"].tolist() == [1, 2]


@pytest.mark.parametrize("text", ["", "a\ta\n1\t2\n", "a\tb\n1\t2\t3\n1\t2\t3\t4\n"])
def test_table_files_that_are_not(tmp_path, text):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / "a.tsv")
    assert "\n" not in str(caught.value)


def test_json(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": np.arange(3), "b": np.float32("nan"), 3: path, "é": (1, True, None, np.int64(4))})
    assert read_json(path) == {"a": [0, 1, 2], "b": None, "3": str(path), "é": [1, True, None, 4]}
    write_text(path, "{")
    with pytest.raises(InputError, match="JSON"):
        read_json(path)
    with pytest.raises(InputError, match="No such file"):
        read_text(tmp_path / "none")


def test_real_cohort(brains):
    members = read_cohort(brains, labels_from="derivatives/dlmuse", labels_description="muse")
    assert len(members) == 24
    assert all(
        member.labels is not None and isinstance(member.covariates["age"], float) for member in members
    )
    assert len(read_label_table(label_names_file(members[0].labels)).names) > 148
