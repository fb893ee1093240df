"""The demo cohort is what it says, the same every time, and the comparison measures what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

pytest.importorskip("nilearn", reason="the demo cohort needs nilearn's package data")

from regcore.demo import compare_with_truth, make_demo, make_subjects
from regcore.demo.anatomy import STRUCTURES
from regcore.demo.truth import inter_subject_error
from regcore.errors import InputError
from regcore.io.cohort import read_cohort
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import read_grid, read_image, read_labels, write_image
from regcore.kernels.jacobian import jacobian_determinant
from regcore.resample import resample
from regcore.transforms import Chain


def truth_of(folder: Path, subject: str) -> Path:
    return folder / "truth" / f"{subject}_from-ICBM_to-T1w_mode-image_xfm.h5"


def test_cohort_is_a_bids_folder_with_labels(demo_cohort: Path) -> None:
    cohort = demo_cohort / "cohort"
    members = read_cohort(cohort, labels_from=cohort / "derivatives" / "tissue", labels_description="tissue")
    assert [member.key for member in members] == [f"sub-{number:02d}" for number in range(1, 9)]
    for member in members:
        assert member.labels is not None
        assert np.allclose(read_grid(member.image).spacing, 2.0)
        assert read_grid(member.labels).matches(read_grid(member.image))
        assert set(np.unique(read_labels(member.labels).data)) == {0, *STRUCTURES}
        assert {"age", "sex"} <= set(member.covariates)


def test_truth_is_diffeomorphic(demo_cohort: Path) -> None:
    for path in sorted((demo_cohort / "truth").glob("*.h5")):
        truth = read_transform(path)
        assert isinstance(truth, Chain)
        assert jacobian_determinant(truth.transforms[0].field).min() > 0.1


def test_truth_carries_labels_between_subjects(demo_cohort: Path) -> None:
    names = ("sub-01", "sub-04")
    stem = demo_cohort / "cohort" / "derivatives" / "tissue"
    first, second = (read_labels(stem / n / "anat" / f"{n}_desc-tissue_dseg.nii.gz") for n in names)
    to_first, to_second = (read_transform(truth_of(demo_cohort, name)) for name in names)
    carried = resample(second, first.grid, Chain((to_second.inverse(), to_first)), "label").data
    both = (carried > 0) & (first.data > 0)
    assert np.mean(carried[both] == first.data[both]) > 0.85


def test_ventricles_grow_with_age(demo_cohort: Path) -> None:
    people = pandas.read_csv(demo_cohort / "cohort" / "participants.tsv", sep="\t")
    stem = demo_cohort / "cohort" / "derivatives" / "tissue"
    maps = [read_labels(stem / n / "anat" / f"{n}_desc-tissue_dseg.nii.gz") for n in people["participant_id"]]
    shares = [np.mean(labels.data[labels.data > 0] == 1) for labels in maps]
    assert np.corrcoef(people["age"], shares)[0, 1] > 0.5


def test_same_seed_same_subjects() -> None:
    points = np.array([[0.0, 0.0, 0.0], [30.0, -40.0, 20.0]])
    first, second = (next(make_subjects(2, seed=5)) for _ in range(2))
    assert np.array_equal(first.truth(points), second.truth(points))
    assert not np.array_equal(first.truth(points), next(make_subjects(2, seed=6)).truth(points))


def test_one_subject_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2"):
        make_demo(tmp_path / "demo", subjects=1)


def test_error_of_the_truth_itself_is_nothing(demo_cohort: Path) -> None:
    truths = {name: read_transform(truth_of(demo_cohort, name)) for name in ("sub-02", "sub-05", "sub-07")}
    points = np.random.default_rng(0).uniform(-50, 50, (500, 3))
    perfect = {name: truth.inverse() for name, truth in truths.items()}
    # the inverse of a 4 mm field on its own grid is right to about a tenth of a millimetre
    assert inter_subject_error(perfect, truths, points).mean < 0.2
    assert inter_subject_error(truths, truths, points).mean > 3


def test_comparison_reads_a_result(demo_cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the workflow"):
        compare_with_truth(demo_cohort)
    folder = tmp_path / "demo"
    (folder / "truth").mkdir(parents=True)
    template = read_image(demo_cohort / "cohort" / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    write_image(folder / "results" / "tpl-Demo" / "tpl-Demo_res-01_T1w.nii.gz", template)
    mask = read_labels(demo_cohort / "cohort/derivatives/tissue/sub-01/anat/sub-01_desc-tissue_dseg.nii.gz")
    write_image(
        folder / "results" / "tpl-Demo" / "tpl-Demo_res-01_desc-foreground_mask.nii.gz", mask, dtype="uint8"
    )
    start = read_transform(truth_of(demo_cohort, "sub-01"))
    for name in ("sub-01", "sub-02"):
        truth = read_transform(truth_of(demo_cohort, name))
        write_transform(truth_of(folder, name), truth)
        perfect = Chain((truth.inverse(), start))
        anat = folder / "results" / name / "anat"
        write_transform(anat / f"{name}_from-T1w_to-Demo_mode-image_xfm.h5", perfect, template.grid)
    text = compare_with_truth(folder)
    result = next(line for line in text.splitlines() if line.strip().startswith("result"))
    assert float(result.split()[1]) < 0.2
