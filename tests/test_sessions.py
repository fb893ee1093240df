"""Sessions of a subject: its template, and what is followed on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regcore.image import Image
from regcore.io.cohort import Member
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import read_json, read_table
from regcore.labels import dice
from regcore.space import Grid
from regcore.study.config import Study
from regcore.study.followup import baseline_of, measure_sessions, propagate_labels, with_changes
from regcore.study.gather import gather_template
from regcore.study.integrity import move_aside
from regcore.study.manifest import read_manifest
from regcore.study.outputs import Layout, sidecar
from regcore.study.overrides import NO_OVERRIDES, Override
from regcore.study.population import population_batch
from regcore.study.prepare import prepare_batch
from regcore.study.regions import SubjectLabels
from regcore.study.sessions import Visits, pass_session, subject_template
from regcore.study.settings import PopulationSettings, PrepareSettings
from regcore.study.template import centre_batch, register_batch, template_grid
from regcore.transforms import Affine
from tests.longitudinal import COARSE, CONFIG, GROWING, GROWTH, RIGID, pose, surface, write_session


def build(
    root: Path,
    subject: str,
    stems: Sequence[Path],
    stages: Sequence[dict[str, Any]],
    overrides: Mapping[str, Override] = NO_OVERRIDES,
) -> tuple[Visits, list[Path], dict[str, str]]:
    """The template of a subject from the images of its sessions, by the functions that the jobs call."""
    layout = Layout(root / "results", "subject", "T1w", f"sub-{subject}")
    settings = Study.from_dict(CONFIG | {"sessions": {"stages": list(stages)}}).sessions
    members = [
        Member(subject, str(number), Path(f"{stem}.nii.gz"), labels=Path(f"{stem}_dseg.nii.gz"))
        for number, stem in enumerate(stems, start=1)
    ]
    labels = {member.key: str(member.labels) for member in members}
    prepared = [root / "prepared" / member.key for member in members]
    for member, folder in zip(members, prepared, strict=True):
        prepare_batch([member], folder, PrepareSettings())
    template_grid(prepared, root / "grid.json", None, subject=True)
    registered, template = root / "register" / "00" / "all", root / "template" / "00"
    centre_batch(prepared, root / "grid.json", registered, subject=True, overrides=overrides)
    gather_template([registered], [], template, 0, "centre", False, 0.1, subject=True)
    for number, stage in enumerate(settings.iterations, start=1):
        before, last = registered, template
        registered, template = root / f"register/{number:02d}/all", root / f"template/{number:02d}"
        register_batch(prepared, before, last, registered, stage, overrides=overrides)
        gather_template(
            [registered], [last], template, number, stage.name, False, settings.stop_mm, subject=True
        )
    sessions, member = root / "sessions" / f"sub-{subject}", root / "prepared" / f"sub-{subject}"
    population_batch(
        prepared, registered, template, None, sessions, layout, labels, None, PopulationSettings()
    )
    keys = [each.key for each in members]
    subject_template(f"sub-{subject}", sessions, template, keys, member, layout, "first", None)
    return Visits.of(member, keys, layout), prepared, labels


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[Affine]]:
    """Three sessions of one head in known poses, with one structure that grows."""
    root = tmp_path_factory.mktemp("grown")
    motions = [pose(seed) for seed in range(3)]
    stems = [root / f"image{number}" for number in range(3)]
    for number, growth in enumerate(GROWTH.values()):
        write_session(stems[number], growth, 0.03, motions[number], number)
    return root, stems, motions


def test_rigid_motion_is_found_and_order_does_not_matter(
    grown: tuple[Path, list[Path], list[Affine]], tmp_path: Path
) -> None:
    _, stems, motions = grown
    first, _, _ = build(tmp_path / "a", "x", stems, [COARSE, RIGID])
    for one in range(3):
        for other in range(3):
            # from the head to one session, on to the subject, to the other session, and back to the head
            points = motions[one].inverse()(surface())
            there = first.to_subject(first.sessions[other])(first.from_subject(first.sessions[one])(points))
            error = np.linalg.norm(motions[other](there) - surface(), axis=-1)
            assert np.sqrt((error**2).mean()) < 0.3  # voxels are 2 mm, and a structure grows
    order = [2, 0, 1]
    second, _, _ = build(tmp_path / "b", "x", [stems[number] for number in order], [COARSE, RIGID])
    one, other = (read_image(each.within.template_image) for each in (first, second))
    assert np.abs(one.grid.affine - other.grid.affine).max() < 1e-9
    for number, source in enumerate(order):
        here, there = (
            first.to_subject(first.sessions[source])(surface()),
            second.to_subject(second.sessions[number])(surface()),
        )
        assert np.array_equal(here, there)
    assert np.array_equal(one.data, other.data)
    certificate = read_json(first.within.of_template("desc-bias_certificate.json"))
    assert certificate["mean_log_affine_rms_mm"] < 1e-9


def given(own: dict[str, str], layout: Layout) -> SubjectLabels:
    """Own labels alone, whose structures have no names."""
    return SubjectLabels(own, [], "Cohort", {}, layout)


@pytest.fixture(scope="module")
def followed(
    grown: tuple[Path, list[Path], list[Affine]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Visits, Path, dict[str, str]]:
    """The sessions of the grown head on a template made with a deformable stage, measured."""
    root = tmp_path_factory.mktemp("followed")
    visits, prepared, labels = build(root, "x", grown[1], [COARSE, RIGID, GROWING])
    layout = Layout(root / "results")
    own = {"sub-x": str(visits.folder / "sub-x_labels.nii.gz")} | labels
    propagate_labels(visits, given(labels, layout), prepared, root / "propagated", "first")
    measure_sessions(visits, given(own, layout), None, root / "followed", "first")
    return visits, root, labels


def test_growth_is_measured(followed: tuple[Visits, Path, dict[str, str]]) -> None:
    frame = read_table(followed[1] / "followed" / "sessions.tsv")
    change = frame[frame["segmentation"] == "own"].pivot(
        index="member", columns="label", values="volume_change_percent"
    )
    assert change.iloc[0].tolist() == [0, 0, 0]
    assert change[2].to_numpy() == pytest.approx([0, 20, 40], abs=5)
    assert change[3].abs().max() < 4
    # the session's own labels say the same; the baseline is the first session
    own = frame[(frame["segmentation"] == "own") & (frame["label"] == 2)]
    assert own["own_volume_change_percent"].to_numpy() == pytest.approx([0, 20, 40], abs=5)
    assert set(frame["baseline_session_id"]) == {"ses-1"}
    assert (frame["within_change"] - np.log1p(frame["volume_change_percent"] / 100)).abs().max() < 0.02
    # unbiased to any time point: the log-Jacobians of the sessions cancel
    mean = frame.groupby(["segmentation", "label"])["within_mean"].mean()
    assert mean.abs().max() < 0.02


def test_labels_are_propagated(followed: tuple[Visits, Path, dict[str, str]]) -> None:
    _, root, labels = followed
    frame = read_table(root / "propagated" / "propagation.tsv")
    assert set(frame["member"]) == {"sub-x_ses-2", "sub-x_ses-3"}
    assert frame["dice"].min() > 0.85
    layout = Layout(root / "results")
    assert not layout.propagated("sub-x_ses-1").exists()
    found = read_labels(layout.propagated("sub-x_ses-3"))
    assert dice(found, read_labels(labels["sub-x_ses-3"]))[2] == pytest.approx(
        frame[(frame["member"] == "sub-x_ses-3") & (frame["label"] == 2)]["dice"].item(), abs=1e-5
    )


def test_all_sessions_vote_for_labels(followed: tuple[Visits, Path, dict[str, str]], tmp_path: Path) -> None:
    visits, root, labels = followed
    prepared = [root / "prepared" / key for key in visits.sessions]
    propagate_labels(visits, given(labels, Layout(tmp_path)), prepared, tmp_path / "out", "all")
    frame = read_table(tmp_path / "out" / "propagation.tsv")
    # each from the two others
    assert set(frame["member"]) == set(visits.sessions)
    assert set(frame["sources"]) == {2}


def test_an_excluded_session_is_no_baseline(
    grown: tuple[Path, list[Path], list[Affine]], tmp_path: Path
) -> None:
    """The first session is excluded: change counts from the second, which gives the labels too."""
    excluded = {"sub-x_ses-1": Override("exclude")}
    visits, prepared, labels = build(tmp_path, "x", grown[1], [COARSE, RIGID], excluded)
    assert visits.sessions == ("sub-x_ses-1", "sub-x_ses-2", "sub-x_ses-3")
    layout, subject = Layout(tmp_path / "results"), visits.folder / "sub-x_labels.nii.gz"
    assert np.array_equal(
        read_labels(subject).data, read_labels(visits.within.warped_labels("sub-x_ses-2")).data
    )
    own = given({"sub-x": str(subject)} | labels, layout)
    changes = {}
    for wanted in ("first", "1", "ses-3"):
        measure_sessions(visits, own, None, tmp_path / wanted, wanted)
        frame = read_table(tmp_path / wanted / "sessions.tsv").query("segmentation == 'own' and label == 2")
        changes[wanted] = frame.set_index("member")["own_volume_change_percent"].to_numpy()
        assert set(frame["baseline_session_id"].dropna()) == {"first": {"ses-2"}, "ses-3": {"ses-3"}}.get(
            wanted, set()
        )
    # volumes 1, 1.2 and 1.4: the excluded session is measured, but nothing is measured from it
    assert changes["first"] == pytest.approx([-16.7, 0, 16.7], abs=4)
    assert changes["ses-3"] == pytest.approx([-28.6, -14.3, 0], abs=4)
    assert np.isnan(changes["1"]).all()
    for labels_from, sources in (("first", "ses-2"), ("all", "ses-2, sub-x_ses-3")):
        propagate_labels(visits, given(labels, layout), prepared, tmp_path / labels_from, labels_from)
        about = read_json(sidecar(layout.propagated("sub-x_ses-1")))["Description"]
        assert about == f"Labels carried from sub-x_{sources}"


def test_a_session_that_could_not_be_used_is_no_baseline(
    grown: tuple[Path, list[Path], list[Affine]], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    write_image(f"{bad}.nii.gz", Image(np.zeros((16, 16, 16), np.float32), Grid((16, 16, 16), np.eye(4))))
    (tmp_path / "bad_dseg.nii.gz").write_bytes(Path(f"{grown[1][0]}_dseg.nii.gz").read_bytes())
    visits, prepared, labels = build(tmp_path, "x", [bad, *grown[1][1:]], [RIGID])
    assert [baseline_of(visits, wanted) for wanted in ("first", "ses-1", "3")] == [
        "sub-x_ses-2", None, "sub-x_ses-3",
    ]  # fmt: skip
    propagate_labels(visits, given(labels, Layout(tmp_path)), prepared, tmp_path / "out", "first")
    assert set(read_table(tmp_path / "out" / "propagation.tsv")["member"]) == {"sub-x_ses-3"}


def test_change_needs_its_baseline() -> None:
    rows = [
        {"member": f"sub-a_ses-{session}", "segmentation": "own", "label": 1, "within_mean": mean,
         "volume_mm3": volume, "own_volume_mm3": None}
        for session, mean, volume in (("1", -0.1, 90.0), ("2", 0.1, 110.0))
    ]  # fmt: skip
    frame = with_changes(pd.DataFrame(rows).assign(baseline="sub-a_ses-2"))
    assert frame["within_change"].tolist() == [-0.2, 0.0]
    assert frame["volume_change_percent"].round(3).tolist() == [-18.182, 0.0]
    assert frame["own_volume_change_percent"].isna().all()
    without = with_changes(pd.DataFrame(rows).assign(baseline=None))
    assert without["volume_change_percent"].isna().all()
    assert without["baseline_session_id"].isna().all()


def test_one_session_passes_straight_through(
    grown: tuple[Path, list[Path], list[Affine]], tmp_path: Path
) -> None:
    member = Member("x", "1", Path(f"{grown[1][0]}.nii.gz"))
    prepare_batch([member], tmp_path / "prepared" / member.key, PrepareSettings())
    layout = Layout(tmp_path / "results", "subject", "T1w", "sub-x")
    output = layout.work / "prepared" / "sub-x"
    pass_session("sub-x", tmp_path / "prepared" / member.key, output, layout)
    entry = read_manifest(output)["sub-x"]
    assert (output / entry["image"]).samefile(tmp_path / "prepared" / member.key / entry["image"])
    visits = Visits.of(output, [member.key], layout)
    assert visits.sessions == (member.key,)
    assert visits.to_subject(member.key)([1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]
    # a damaged transform is traced to the job that made it
    assert move_aside(layout.forward(member.key), layout.work) == [output]
    # what was set aside stays so
    bad = tmp_path / "zero.nii"
    write_image(bad, Image(np.zeros((16, 16, 16), np.float32), Grid((16, 16, 16), np.eye(4))))
    prepare_batch([Member("y", "1", bad)], tmp_path / "prepared" / "y", PrepareSettings())
    pass_session("sub-y", tmp_path / "prepared" / "y", tmp_path / "prepared" / "sub-y", layout)
    assert read_manifest(tmp_path / "prepared" / "sub-y")["sub-y"]["status"] == "quarantined"


def test_a_subject_without_usable_sessions_is_set_aside(tmp_path: Path) -> None:
    grid = Grid((16, 16, 16), np.eye(4))
    for number in (1, 2):
        write_image(tmp_path / f"{number}.nii.gz", Image(np.zeros(grid.shape, np.float32), grid))
    stems = [tmp_path / "1", tmp_path / "2"]
    visits, _, _ = build(tmp_path, "x", stems, [COARSE, RIGID])
    assert visits.sessions == ()
    assert visits.entry["status"] == "quarantined"
    assert "expected at least one usable session, found none (sub-x_ses-1: " in visits.entry["reason"]
    measure_sessions(visits, given({}, Layout(tmp_path)), None, tmp_path / "followed", "first")
    assert read_manifest(tmp_path / "followed")["sub-x"]["status"] == "quarantined"
