"""Sessions: the subject's template, what is followed on it, and the whole workflow on a made cohort."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml
from longitudinal import GROWTH, MIDDLE, pose, write_cohort, write_session

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.cohort import Member
from regcore.io.itk import read_transform
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import read_json, read_table
from regcore.labels import dice
from regcore.morphometry import accumulate, value_summary, volume_histogram
from regcore.space import Grid
from regcore.study.config import Study
from regcore.study.followup import measure_sessions, propagate_labels, with_changes
from regcore.study.gather import gather_template
from regcore.study.integrity import move_aside
from regcore.study.manifest import read_manifest
from regcore.study.outputs import Layout
from regcore.study.overrides import Override
from regcore.study.plan import Plan
from regcore.study.population import population_batch
from regcore.study.prepare import prepare_member
from regcore.study.sessions import Visits, pass_session, subject_template
from regcore.study.settings import PopulationSettings, PrepareSettings, SessionsSettings
from regcore.study.subjects import group_sessions
from regcore.study.template import centre_batch, register_batch, template_grid
from regcore.transforms import Affine, Chain, Displacement

ROOT = Path(__file__).parents[1]
COARSE: dict[str, Any] = {
    "name": "coarse",
    "repeats": 2,
    "linear": [{"model": "rigid", "metric": "mi", "shrink": [4], "iterations": [40], "rotations_deg": 15}],
}
RIGID: dict[str, Any] = {
    "name": "rigid",
    "repeats": 8,
    "linear": [
        {"model": "rigid", "metric": "ncc", "shrink": [2, 1], "iterations": [30, 15], "rotations_deg": 0}
    ],
}
GROWING: dict[str, Any] = {
    "name": "growth",
    "repeats": 3,
    "deformable": {"metric": "lncc", "radius": 2, "shrink": [2, 1], "iterations": [20, 20]},
}
CONFIG: dict[str, Any] = {
    "cohort": {"source": "cohort.tsv"},
    "targets": ["sessions", "tables"],
    "sessions": {"stages": [COARSE, RIGID, GROWING]},
}


def visit(participant: str, session: str | None, **covariates: Any) -> Member:
    return Member(participant, session, Path(f"{participant}{session}.nii"), covariates=covariates)


def test_sessions_come_in_their_natural_order() -> None:
    members = [visit("a", name) for name in ("1", "10", "2")] + [visit("b", None)]
    several, single = group_sessions(members, SessionsSettings(), Path())
    assert several.keys == ["sub-a_ses-1", "sub-a_ses-2", "sub-a_ses-10"]
    assert (several.is_averaged, single.is_averaged, single.is_image) == (True, False, True)


def test_sessions_are_ordered_by_a_column() -> None:
    members = [visit("a", "x", date="2021-05-02"), visit("a", "y", date="2019-12-31")]
    (subject,) = group_sessions(members, SessionsSettings(order_by="date"), Path())
    assert subject.keys == ["sub-a_ses-y", "sub-a_ses-x"]
    # the covariates of the subject are those of its first session
    assert subject.member(Path("work")).covariates == {"date": "2019-12-31"}


@pytest.mark.parametrize(
    ("members", "settings", "message"),
    [
        ([visit("a", "1"), visit("a", None)], {}, "sub-a: expected a session_id for each of its 2 images"),
        ([visit("a", "1")], {"order_by": "age"}, "config sessions.order_by: expected a column of the cohort"),
        (
            [visit("a", "1", age=3), visit("a", "2", age=None)],
            {"order_by": "age"},
            "sub-a_ses-2: expected a value of age to order the sessions by, found none",
        ),
        (
            [visit("a", "1"), visit("a", "2")],
            {"baseline": "3"},
            r"config sessions.baseline: expected first or a session \(1, 2\), found '3'",
        ),
        (
            [visit("a", "1", dose="none.nii")],
            {"accumulate": "dose"},
            "sub-a_ses-1: expected the dose file none.nii, found nothing there",
        ),
    ],
)
def test_sessions_that_cannot_work_are_refused(
    members: list[Member], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        group_sessions(members, SessionsSettings(**settings), Path())


def test_names_of_spaces_differ() -> None:
    with pytest.raises(InputError, match=r"config sessions\.name: expected another name than the template's"):
        Study.from_dict(CONFIG | {"template": {"name": "subject"}})


def test_a_subject_is_one_vote(tmp_path: Path) -> None:
    rows = ["participant_id\tsession_id\timage\tlabels\tage"]
    for key in ("a 1", "a 2", "b 1", "c n/a"):
        participant, session = key.split()
        (tmp_path / f"{participant}{session[0]}.nii").write_bytes(b"-")
        rows.append(
            f"{participant}\t{session}\t{participant}{session[0]}.nii\t{participant}{session[0]}.nii\t9"
        )
    table = tmp_path / "cohort.tsv"
    table.write_text("\n".join(rows) + "\n")
    config = CONFIG | {"cohort": {"source": str(table)}, "targets": ["population", "sessions", "tables"]}
    template = {"stages": [{"name": "affine", "linear": [{}]}]}
    plan = Plan.from_config(config | {"template": template})
    assert plan.keys == ["sub-a", "sub-b", "sub-c"]
    assert plan.subject_names(averaged=True) == ["sub-a"]
    assert plan.subject_names(averaged=False) == ["sub-b"]
    assert plan.folders("prepared")[-2:] == ["prepared/sub-a", "prepared/sub-b"]
    assert {"sessions", "propagation"} <= set(plan.tables)
    # labels of several sessions come together where the template of the subject lies; others are given
    assert plan.labels_of(plan.batch_of["sub-a"]) == []
    assert plan.labels_of(plan.batch_of["sub-b"]) == [str(tmp_path / "b1.nii")]
    assert [row["session_id"] for row in plan.covariates(sessions=True)] == [
        None, None, None, "ses-1", "ses-2", "ses-1",
    ]  # fmt: skip
    # decisions about a session count in the subject's template, about a lone one in the population
    decisions = tmp_path / "overrides.tsv"
    decisions.write_text("participant\taction\na_ses-2\texclude\nb_ses-1\tkeep\nc\texclude\n")
    decided = Plan.from_config(config | {"template": template, "qc": {"overrides": str(decisions)}})
    assert decided.session_overrides("sub-a") == {"sub-a_ses-2": Override("exclude")}
    found = {key: each for batch in decided.batches for key, each in decided.overrides_of(batch).items()}
    assert found == {"sub-b": Override("keep"), "sub-c": Override("exclude")}
    # without the target, every session is a vote
    assert len(Plan.from_config(config | {"template": template, "targets": ["template"]}).keys) == 4


def build(
    root: Path, subject: str, stems: Sequence[Path], stages: Sequence[dict[str, Any]]
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
        prepare_member(member, folder, PrepareSettings())
    template_grid(prepared, root / "grid.json", None, subject=True)
    registered, template = root / "register" / "00" / "all", root / "template" / "00"
    centre_batch(prepared, root / "grid.json", registered, subject=True)
    gather_template([registered], [], template, 0, "centre", False, 0.1, subject=True)
    for number, stage in enumerate(settings.iterations, start=1):
        before, last = registered, template
        registered, template = root / f"register/{number:02d}/all", root / f"template/{number:02d}"
        register_batch(prepared, before, last, registered, stage)
        gather_template(
            [registered], [last], template, number, stage.name, False, settings.stop_mm, subject=True
        )
    sessions, member = root / "sessions" / f"sub-{subject}", root / "prepared" / f"sub-{subject}"
    population_batch(
        prepared, registered, template, None, sessions, layout, labels, None, PopulationSettings()
    )
    keys = [each.key for each in members]
    subject_template(f"sub-{subject}", sessions, template, keys, member, layout, "first", None)
    return Visits.of(f"sub-{subject}", member, keys, layout), prepared, labels


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[Affine]]:
    """Three sessions of one head in known poses, with one structure that grows."""
    root = tmp_path_factory.mktemp("grown")
    motions = [pose(seed) for seed in range(3)]
    stems = [root / f"image{number}" for number in range(3)]
    for number, growth in enumerate(GROWTH.values()):
        write_session(stems[number], growth, 0.03, motions[number], number)
    return root, stems, motions


def surface(radius: float = 20.0) -> npt.NDArray[np.float64]:
    """World points of the head spread over a sphere about its middle."""
    steps = np.arange(200)
    height, turn = 1 - 2 * (steps + 0.5) / 200, steps * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.asarray(MIDDLE + radius * np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=-1))


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


@pytest.fixture(scope="module")
def followed(
    grown: tuple[Path, list[Path], list[Affine]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Visits, Path, dict[str, str]]:
    """The sessions of the grown head on a template made with a deformable stage, measured."""
    root = tmp_path_factory.mktemp("followed")
    visits, prepared, labels = build(root, "x", grown[1], [COARSE, RIGID, GROWING])
    layout = Layout(root / "results")
    own = {"sub-x": str(visits.folder / "sub-x_labels.nii.gz")} | labels
    propagate_labels(visits, prepared, [], root / "propagated", layout, labels, {}, "first", "Cohort")
    measure_sessions(visits, None, [], root / "followed", layout, own, {}, "Cohort", "first")
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
    layout = Layout(tmp_path)
    propagate_labels(visits, prepared, [], tmp_path / "out", layout, labels, {}, "all", "Cohort")
    frame = read_table(tmp_path / "out" / "propagation.tsv")
    # each from the two others
    assert set(frame["member"]) == set(visits.sessions)
    assert set(frame["sources"]) == {2}


def bump(scale: float) -> tuple[Chain, Grid]:
    """A smooth map with an affine: world mm of the grid to the world of another session."""
    grid = Grid((40, 40, 40), np.eye(4))
    x = np.mgrid[:40, :40, :40].astype(np.float32) - 19.5
    weight = np.exp(-(x**2).sum(axis=0) / (2 * 6.0**2))
    field = np.ascontiguousarray(np.moveaxis(scale * x * weight, 0, -1)).astype(np.float32)
    affine = Affine.from_parameters(
        translation=(1, -2, 0.5), rotation=(0.05, 0, 0.1), zooms=(1.1, 1, 0.95), centre=(19.5,) * 3
    )
    return Chain((affine, Displacement(field, grid))), grid


def test_accumulation_keeps_values_or_amounts() -> None:
    transform, grid = bump(0.25)
    x = np.mgrid[:40, :40, :40].astype(np.float32) - 19.5
    spot = Image(np.exp(-((x - 2) ** 2).sum(axis=0) / (2 * 5.0**2)).astype(np.float32), grid)
    whole = float(spot.data.sum(dtype=np.float64))
    amount = accumulate([spot, spot], [transform, Affine(np.eye(4))], grid, "amount")
    assert amount.data.sum(dtype=np.float64) == pytest.approx(2 * whole, rel=5e-3)
    value = accumulate([spot, spot], [transform, Affine(np.eye(4))], grid)
    assert abs(float(value.data.sum(dtype=np.float64)) / (2 * whole) - 1) > 0.05
    # a point takes its dose along
    assert value.data.max() <= 2 * spot.data.max()
    constant = Image(np.full(grid.shape, 1.5, np.float32), grid)
    both = accumulate([constant, constant], [transform, transform], grid)
    assert both.data[8:-8, 8:-8, 8:-8] == pytest.approx(3.0, abs=1e-6)
    with pytest.raises(InputError, match="expected one of value, amount, found 'mass'"):
        accumulate([spot], [transform], grid, "mass")
    with pytest.raises(InputError, match="expected a transform for each map, found 1 and 0"):
        accumulate([spot], [], grid)


def test_histogram_integrates_to_the_mean() -> None:
    grid = Grid((10, 10, 10), np.diag([2.0, 1.0, 1.0, 1.0]))
    generator = np.random.default_rng(0)
    dose = Image(generator.uniform(0, 60, grid.shape).astype(np.float32), grid)
    labels = Image(generator.integers(0, 3, grid.shape).astype(np.int32), grid)
    frame = volume_histogram(dose, labels, {1: "tumour"}, 0.1)
    summary = value_summary(dose, labels, {1: "tumour"}).set_index("label")
    assert summary.loc[1, "structure"] == "tumour"
    for label, rows in frame.groupby("label"):
        assert rows["volume_share"].is_monotonic_decreasing
        assert rows["volume_share"].iloc[[0, -1]].tolist() == [1.0, 0.0]
        # the mean is the area below the curve
        area = np.trapezoid(rows["volume_share"], rows["value"])
        assert area == pytest.approx(summary.loc[label, "mean"], abs=0.05)
        assert rows["volume_mm3"].iloc[0] == summary.loc[label, "volume_mm3"]
        above = rows.loc[rows["volume_share"] >= 0.95, "value"].max()
        assert above == pytest.approx(summary.loc[label, "d95"], abs=0.35)
    assert len(volume_histogram(dose, labels)["value"].unique()) == 102
    with pytest.raises(InputError, match="histogram step: expected above 0"):
        volume_histogram(dose, labels, step=0.0)


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
    prepare_member(member, tmp_path / "prepared" / member.key, PrepareSettings())
    layout = Layout(tmp_path / "results", "subject", "T1w", "sub-x")
    output = layout.work / "prepared" / "sub-x"
    pass_session("sub-x", tmp_path / "prepared" / member.key, output, layout)
    entry = read_manifest(output)["sub-x"]
    assert (output / entry["image"]).samefile(tmp_path / "prepared" / member.key / entry["image"])
    visits = Visits.of("sub-x", output, [member.key], layout)
    assert visits.sessions == (member.key,)
    assert visits.to_subject(member.key)([1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]
    # a damaged transform is traced to the job that made it
    assert move_aside(layout.forward(member.key), layout.work) == [output]
    # what was set aside stays so
    bad = tmp_path / "zero.nii"
    write_image(bad, Image(np.zeros((16, 16, 16), np.float32), Grid((16, 16, 16), np.eye(4))))
    prepare_member(Member("y", "1", bad), tmp_path / "prepared" / "y", PrepareSettings())
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
    measure_sessions(visits, None, [], tmp_path / "followed", Layout(tmp_path), {}, {}, "Cohort", "first")
    assert read_manifest(tmp_path / "followed")["sub-x"]["status"] == "quarantined"


@pytest.fixture(scope="module")
def run_workflow() -> Callable[[Path, dict[str, Any]], subprocess.CompletedProcess[str]]:
    pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")

    def run(folder: Path, config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(folder), "--configfile", str(folder / "config.yaml"), "--cores", "2"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.mark.slow
def test_workflow_of_a_ragged_cohort(
    tmp_path: Path, run_workflow: Callable[[Path, dict[str, Any]], subprocess.CompletedProcess[str]]
) -> None:
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
    found = run_workflow(tmp_path, config)
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
    again = run_workflow(tmp_path, config)
    assert "Nothing to be done" in again.stdout + again.stderr
