"""Outliers weigh less by the stated rule, decisions of people come first, the template is what was stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regcore.errors import InputError
from regcore.groupwise import average, partial_sum
from regcore.image import Image
from regcore.io.arrays import write_arrays
from regcore.io.itk import write_transform
from regcore.io.nifti import write_image
from regcore.io.tables import write_json
from regcore.qc.weights import MEASURES, WEIGHING, outlier_weights, reason_of, score_members
from regcore.registration.presets import preset
from regcore.space import Grid
from regcore.study.channels import ChannelSums
from regcore.study.gather import gather_template, read_partials
from regcore.study.influence import member_parts
from regcore.study.manifest import good, grid_to_dict, read_manifest, write_manifest
from regcore.study.outputs import Layout
from regcore.study.overrides import Override, override_rows, read_overrides, retry_settings
from regcore.study.settings import QualitySettings
from regcore.study.template import PARTIAL, add_member, centre_batch
from regcore.study.weighing import QC, Weight, judge_members, read_weights, weigh
from regcore.transforms import identity

KEYS = [f"sub-{number:02d}" for number in range(1, 9)]


def quality(**changed: float) -> dict[str, float]:
    ordinary = {
        "similarity_after": 0.9,
        "mask_dice": 0.97,
        "folded_voxels": 0,
        "minimum_jacobian": 0.3,
        "inverse_consistency_mean_vox": 0.01,
        "affine_log_volume": 0.0,
        "affine_log_anisotropy": 0.05,
    }
    return ordinary | changed


def test_only_the_bad_side_scores() -> None:
    frame = pd.DataFrame([quality() for _ in range(7)] + [quality(similarity_after=0.99)])
    assert (score_members(frame)["score"] < 3.5).all()
    frame.loc[7, "similarity_after"] = 0.5
    assert score_members(frame)["worst"][7] == "similarity_after"
    frame.loc[7, ["similarity_after", "affine_log_volume"]] = 0.9, -1.0
    assert score_members(frame)["worst"][7] == "affine_log_volume"


def test_differences_that_mean_nothing_are_no_outliers() -> None:
    values = [0.9000 + 1e-4 * number for number in range(7)] + [0.85]
    frame = pd.DataFrame([quality(similarity_after=value) for value in values])
    assert score_members(frame)["score"][7] < 3.5


def test_measures_are_described_and_labels_never_decide() -> None:
    assert set(MEASURES) - set(WEIGHING) == {"label_dice"}
    assert QualitySettings().measures == tuple(name for name in MEASURES if name != "label_dice")


@pytest.mark.parametrize(
    ("rule", "expected"), [("downweight", [1.0, 0.5]), ("exclude", [1.0, 0.0]), ("none", [1.0, 1.0])]
)
def test_rules(rule: str, expected: list[float]) -> None:
    assert outlier_weights([3.0, 8.0], rule, 4.0).tolist() == expected


def test_reason_names_measure_value_and_score() -> None:
    row = quality(similarity_after=0.5) | {"score": 40.0, "worst": "similarity_after"}
    assert reason_of(row, 3.5).startswith("outlier: similarity 0.5, 40 robust standard deviations")


def judged(tmp_path: Path, settings: QualitySettings, bad: dict[str, float], **entry: object) -> Path:
    members = [(key, good(weight=1.0, reason="", quality=quality())) for key in KEYS]
    members[3] = (KEYS[3], good(**({"weight": 1.0, "reason": "", "quality": quality(**bad)} | entry)))
    judge_members(tmp_path / QC, members, {"iteration": 1, "stage": "affine"}, settings)
    return tmp_path / QC


def test_weights_decided_are_those_used_next(tmp_path: Path) -> None:
    table = judged(tmp_path, QualitySettings(), {"similarity_after": 0.5})
    coming = read_weights(table)[KEYS[3]]
    assert 0 < coming.value < 0.2
    assert "similarity 0.5" in coming.reason
    assert read_weights(table, following=False)[KEYS[3]] == Weight()
    assert {read_weights(table)[key] for key in KEYS if key != KEYS[3]} == {Weight()}


def test_a_small_cohort_is_not_judged(tmp_path: Path) -> None:
    table = judged(tmp_path, QualitySettings(fewest=9), {"similarity_after": 0.5})
    assert read_weights(table)[KEYS[3]] == Weight()


def test_a_decision_outlives_the_rule(tmp_path: Path) -> None:
    kept = {"weight": 1.0, "reason": "override: keep"}
    table = judged(tmp_path, QualitySettings(), {"similarity_after": 0.5}, **kept)
    assert read_weights(table)[KEYS[3]] == Weight(1.0, "override: keep")


def test_settled_only_when_the_next_average_weighs_alike(tmp_path: Path) -> None:
    about = {"iteration": 1, "stage": "affine"}
    members = [(key, good(weight=1.0, reason="", quality=quality())) for key in KEYS]
    assert judge_members(tmp_path / "a.tsv", members, about, QualitySettings())
    members[0] = (KEYS[0], good(weight=1.0, reason="", quality=quality(mask_dice=0.5)))
    assert not judge_members(tmp_path / "b.tsv", members, about, QualitySettings())
    assert judge_members(tmp_path / "c.tsv", members, about, QualitySettings(rule="none"))


def test_people_come_first() -> None:
    decided = {"sub-01": Weight(0.2, "outlier")}
    assert weigh("sub-01", decided, {}) == Weight(0.2, "outlier")
    assert weigh("sub-01", decided, {"sub-01": Override("keep")}).value == 1
    assert weigh("sub-02", decided, {"sub-02": Override("exclude")}).value == 0
    # a retry is judged like any other registration
    assert weigh("sub-01", decided, {"sub-01": Override("retry", preset("rigid"), "rigid")}).value == 0.2


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "overrides.tsv"
    path.write_text(text)
    return path


def test_overrides_are_read_with_their_words(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "participant\taction\tpreset\treason\twho\twhen\n"
        "01\tkeep\tn/a\tlarge ventricles\tA. B.\t2026-11-21\n"
        "sub-02_ses-b\tRetry\tmouse\t\"a \"\"quote\"\"\"\tn/a\tn/a\n",
    )  # fmt: skip
    keys = ["sub-01_ses-a", "sub-01_ses-b", "sub-02_ses-a", "sub-02_ses-b"]
    found = read_overrides(path, keys)
    assert {key: override.action for key, override in found.items()} == {
        "sub-01_ses-a": "keep",
        "sub-01_ses-b": "keep",
        "sub-02_ses-b": "retry",
    }
    assert found["sub-02_ses-b"].registration == preset("mouse")
    rows = override_rows(path, keys)
    assert rows[0]["keys"] == keys[:2]
    assert rows[1]["reason"] == 'a "quote"'


def test_words_do_not_change_what_the_build_depends_on(tmp_path: Path) -> None:
    first = read_overrides(write(tmp_path, "participant\taction\treason\n01\tkeep\ta\n"), KEYS)
    assert first == read_overrides(write(tmp_path, "participant\taction\treason\n01\tkeep\tb\n"), KEYS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("99\tkeep\t", "line 2: expected a participant of the cohort, found '99'"),
        ("01\tdrop\t", "line 2: expected one of keep, exclude, retry, found 'drop'"),
        ("01\tretry\t", "line 2: expected the name of a preset to retry with, found none"),
        ("01\tretry\tfast", "preset: expected one of default"),
        ("01\tretry\tlabel-map", "expected false, since a study registers intensities"),
        ("01\tkeep\t\nsub-01\texclude\t", "line 3: expected each member once, found sub-01 again"),
    ],
)
def test_overrides_are_refused_in_one_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_overrides(write(tmp_path, f"participant\taction\tpreset\n{row}\n"), KEYS)
    assert "\n" not in str(caught.value)


def test_missing_overrides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config qc\.overrides: expected a file or folder"):
        read_overrides(tmp_path / "none.tsv", KEYS)
    with pytest.raises(InputError, match="expected the column action"):
        read_overrides(write(tmp_path, "participant\n01\n"), KEYS)


def test_a_retry_moves_what_its_stage_moves() -> None:
    rigid, full = preset("rigid"), preset("t1-brain")
    found = retry_settings(rigid, full)
    assert [stage.model for stage in found.linear] == ["rigid"]
    assert found.deformable is None
    assert retry_settings(full, full) == full
    assert retry_settings(full, rigid).deformable == full.deformable


def image(value: float) -> Image:
    return Image(np.full((6, 6, 6), value, np.float32), Grid((6, 6, 6), np.eye(4)))


def test_sums_are_those_of_the_stated_weights(tmp_path: Path) -> None:
    parts: list = []
    for value, weight in ((1.0, 1.0), (5.0, 0.25), (100.0, 0.0)):
        add_member(parts, image(value), image(value), identity(), Weight(weight))
    assert parts[0].count == 2
    assert parts[0].total == 1.25
    np.testing.assert_allclose(average(parts[0]).data, (1 + 0.25 * 5) / 1.25, rtol=1e-6)


def test_further_images_weigh_alike() -> None:
    sums = ChannelSums()
    for value, weight in ((1.0, 1.0), (5.0, 0.25), (100.0, 0.0)):
        # who weighs nothing is published, but not in the average
        assert sums.add({"T2w": image(value)}, image(0).grid, identity(), weight=weight)["T2w"].data.any()
    assert sums.parts["T2w"].count == 2
    np.testing.assert_allclose(average(sums.parts["T2w"]).data, (1 + 0.25 * 5) / 1.25, rtol=1e-6)


def test_who_weighs_nothing_does_nothing_to_the_template(tmp_path: Path) -> None:
    layout, there = Layout(tmp_path), good(grid=grid_to_dict(image(0).grid))
    for key in ("sub-a", "sub-b", "sub-c"):
        write_transform(layout.forward(key), identity())
        write_image(layout.warped(key), image(1))
    entries = {"sub-a": good(weight=1.0), "sub-b": good(weight=0.0), "sub-c": good(weight=0.5)}
    write_manifest(tmp_path / "population", entries)
    prepared = dict.fromkeys(entries, (tmp_path, there))
    parts = dict(member_parts(prepared, [tmp_path / "population"], layout))
    assert {key: part.total for key, part in parts.items()} == {"sub-a": 1.0, "sub-c": 0.5}


def test_a_frozen_template_of_new_members_alone_has_no_rows(tmp_path: Path) -> None:
    assert judge_members(tmp_path / QC, [], {"stage": "given"}, QualitySettings())
    assert read_weights(tmp_path / QC) == {}


def test_a_subject_whose_sessions_are_all_excluded_is_set_aside(tmp_path: Path) -> None:
    keys = ("sub-x_ses-1", "sub-x_ses-2")
    box, grid = [[0.0] * 3, [6.0] * 3, [3.0] * 3], image(0).grid
    for key in keys:
        write_image(tmp_path / key / "image.nii", image(1))
        entry = good(image="image.nii", grid=grid_to_dict(grid), box=box, digest=key)
        write_manifest(tmp_path / key, {key: entry})
    write_json(tmp_path / "grid.json", grid_to_dict(grid) | {"centre": box[2]})
    decided = dict.fromkeys(keys, Override("exclude"))
    prepared = [tmp_path / key for key in keys]
    centre_batch(prepared, tmp_path / "grid.json", tmp_path / "00", subject=True, overrides=decided)
    entries = read_manifest(tmp_path / "00").values()
    assert {entry["reason"] for entry in entries} == {
        "expected a session with a weight above 0, found none (see qc.overrides)"
    }


def test_a_batch_in_which_nobody_weighs_anything_is_passed_over(tmp_path: Path) -> None:
    for name in ("one", "none"):
        write_manifest(tmp_path / name, {f"sub-{name}": good(weight=float(name == "one"), reason="")})
    write_arrays(tmp_path / "one" / PARTIAL, partial_sum([image(2)], None, [identity()]).to_arrays())
    total = read_partials([tmp_path / "one", tmp_path / "none"], "template")
    assert total.count == 1
    with pytest.raises(InputError, match="expected at least one usable image with a weight above 0"):
        read_partials([tmp_path / "none"], "template")


def test_a_gather_states_what_its_average_weighed(tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    ball = np.zeros((12, 12, 12), np.float32)
    ball[3:9, 3:9, 3:9] = 1
    member = Image(ball, Grid(ball.shape, np.eye(4)))
    write_manifest(
        folder, {"sub-a": good(weight=1.0, reason=""), "sub-b": good(weight=0.0, reason="override: exclude")}
    )
    write_arrays(folder / PARTIAL, partial_sum([member], None, [identity()]).to_arrays())
    gather_template([folder], [], tmp_path / "00", 0, "centre", False, 0.1)
    weights = read_weights(tmp_path / "00" / QC, following=False)
    assert weights == {"sub-a": Weight(), "sub-b": Weight(0.0, "override: exclude")}
