"""The benchmark's own arithmetic: scores, what is kept, tables and bars."""

import subprocess
import sys

import numpy as np
import pandas
import pytest

from benchmarks import fusion, morphometry, pairwise, plot, tables
from benchmarks.data import ROWS, Pair, Row
from benchmarks.made import small_pair
from benchmarks.measure import Cost
from benchmarks.methods import ROOT
from benchmarks.peers import Job
from benchmarks.score import landmarks_inside, mean_dice, region, score
from regcore.io.itk import write_transform
from regcore.io.nifti import read_grid, read_labels
from regcore.transforms import Affine, Displacement, identity


@pytest.fixture
def pair(tmp_path):
    return small_pair(tmp_path / "made")


def test_an_image_scores_full_marks_against_itself(pair):
    same = Pair(pair.fixed, pair.fixed)
    found = score(same, identity(), identity())
    assert found == {"dice": 1.0, "folded": 0.0, "inverse_error_vox": 0.0}


def test_scores_say_how_far_a_result_is_off(pair, tmp_path):
    shift = Affine.from_parameters(translation=(3.0, 4.0, 0.0))
    truth = tmp_path / "truth.txt"
    write_transform(truth, shift)
    found = score(Pair(pair.fixed, pair.fixed, truth), identity(), shift)
    assert found["error_mm"] == pytest.approx(5.0)
    assert found["inverse_error_vox"] == pytest.approx(5.0)
    rigid = score(Pair(pair.fixed, pair.fixed, truth), identity(), None, rigid=True)
    assert rigid["mi"] > rigid["mi_truth"]
    assert "folded" not in rigid


def test_every_fusion_of_regcore_runs_as_a_process(pair, tmp_path):
    carried = [str(subject.image) for subject in (pair.fixed, pair.moving)]
    labels = [str(subject.labels) for subject in (pair.fixed, pair.moving)]
    for name in (name for name, tool in fusion.METHODS.items() if tool == "regcore"):
        output = tmp_path / f"{name}.nii.gz"
        line = [sys.executable, "-m", "benchmarks.fusion", name, str(output), "1", str(pair.fixed.image)]
        done = subprocess.run([*line, *carried, *labels], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        fused = read_labels(output)
        assert mean_dice(fused, read_labels(pair.fixed.labels)) > 0.7


def test_folds_are_counted(pair):
    grid = read_grid(pair.fixed.image)
    field = np.zeros((*grid.shape, 3), np.float32)
    field[16, ..., 0] = 3
    folded = score(Pair(pair.fixed, pair.fixed), Displacement(field, grid), None)["folded"]
    assert 0 < folded < 0.1


def test_landmarks_outside_either_image_do_not_count(pair, tmp_path):
    inside, outside = (-5.0, -5.0, 5.0), (-50.0, 5.0, 5.0)
    lists = {"fixed": (inside, outside, inside), "moving": (inside, inside, outside)}
    subjects = []
    for name, points in lists.items():
        file = tmp_path / f"{name}.txt"
        file.write_text("\n".join(["point", "3", *(" ".join(map(str, point)) for point in points)]) + "\n")
        subject = getattr(pair, name)
        subjects.append(type(subject)(subject.name, subject.image, landmarks=file))
    fixed, moving = landmarks_inside(Pair(*subjects))
    assert len(fixed) == len(moving) == 1
    assert region(Pair(*subjects)).any()


def test_scores_outlive_threads_and_times_are_taken_apart(pair, tmp_path, monkeypatch):
    runs = []

    def fake_measure(line, environment, log):
        runs.append(line)
        return Cost(float(len(runs)), 1.0, 100.0)

    monkeypatch.setattr(pairwise, "measure", fake_measure)
    monkeypatch.setattr(pairwise, "read_result", lambda name, job: (identity(), identity()))
    monkeypatch.setattr(pairwise, "engine_seconds", lambda name, job: 0.5)
    row = ROWS["startup"]

    def results(**options):
        setup = pairwise.Setup(tmp_path / "work", **options)
        pairwise.run_pairs(row, [pair], ["regcore"], setup)
        return pairwise.kept_results(row, [pair], ["regcore"], setup, pairwise.source_mark()).iloc[0]

    assert results(threads=1, timed=0)["runs"] == 0
    assert results(threads=2, timed=0)["runs"] == 0
    assert len(runs) == 1
    timed = results(threads=2, repeats=3)
    assert len(runs) == 4
    assert (timed["runs"], timed["wall_s"], timed["dice"]) == (3, 3.0, results(threads=1, timed=0)["dice"])
    results(threads=2, repeats=3)
    assert len(runs) == 4
    assert results(threads=2)["runs"] == row.repeats > 3


def test_slow_tools_are_scored_on_all_pairs_and_timed_on_the_first(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(pairwise, "measure", lambda line, environment, log: Cost(2.0, 1.0, 100.0))
    monkeypatch.setattr(pairwise, "read_result", lambda name, job: (identity(), identity()))
    monkeypatch.setattr(pairwise, "engine_seconds", lambda name, job: 0.5)
    for name, answer in (("is_installed", True), ("version", "1")):
        monkeypatch.setattr(pairwise, name, lambda method, answer=answer: answer)
    row, setup, names = ROWS["brains_1mm"], pairwise.Setup(tmp_path / "work", 1), ["greedy", "ants-syn"]
    both = [pair, Pair(pair.moving, pair.fixed)]
    pairwise.run_pairs(row, both, names, setup)
    table = pairwise.kept_results(row, both, names, setup, pairwise.source_mark())
    assert table.dice.notna().all()
    assert table.method.tolist() == names * 2
    assert table.runs.tolist() == [3, 1, 3, 0]
    assert tables.methods_table(table).timed.tolist() == ["2 x 3", "1"]


def test_what_failed_is_said_and_tried_again(pair, tmp_path, monkeypatch):
    def failing(line, environment, log):
        raise RuntimeError("exit code 1")

    monkeypatch.setattr(pairwise, "measure", failing)
    row, setup = ROWS["startup"], pairwise.Setup(tmp_path / "work", 1)
    pairwise.run_pairs(row, [pair], ["regcore"], setup)
    table = pairwise.kept_results(row, [pair], ["regcore"], setup, pairwise.source_mark())
    assert table.failure[0] == "exit code 1"
    assert "(1 failed)" in tables.section(row, table)


def made_results(row: Row) -> pandas.DataFrame:
    common = {"version": "1", "settings": "as ever", "date": "2026-01-01", "machine": "m", "threads": 2}
    lines = []
    for number, pair in enumerate(("a_b", "b_a")):
        for name, factor in (("regcore", 1), ("greedy", 10)):
            times = {"engine_s": factor, "wall_s": 2 * factor, "cpu_s": factor, "memory_mib": 100}
            accuracy = {row.accuracy: 0.7 + 0.1 * number / factor, "folded": 0.0, "inverse_error_vox": 0.01}
            lines.append({"pair": pair, "method": name, "runs": 1, **common, **times, **accuracy})
    return pandas.DataFrame(lines)


def test_bars_compare_pair_by_pair():
    row = ROWS["brains_1mm"]
    bars = tables.bars_table(row, made_results(row)).set_index("bar")
    assert bars.met.eq("yes").all()
    assert bars.measured.iloc[:4].tolist() == ["0.1000", "0.1000", "0.0450", "1.0000"]
    slower = made_results(row).assign(runs=0)
    assert tables.bars_table(row, slower).met.iloc[:2].tolist() == ["not measured"] * 2


def test_less_is_better_where_errors_are_compared():
    row = ROWS["icbm"]
    bars = tables.bars_table(row, made_results(row))
    assert (bars.measured[0], bars.met[0]) == ("0.0450", "**no**")


def test_summary_replaces_its_own_sections_alone(tmp_path):
    file = tmp_path / "RESULTS.md"
    file.write_text("# Results\n\nHow.\n\n## old\n\nkept\n\n## mouse\n\ngone\n")
    row = ROWS["mouse"]
    tables.replace_sections(file, {"mouse": tables.section(row, made_results(row))})
    text = file.read_text()
    assert text.startswith("# Results\n\nHow.\n\n## old\n\nkept\n\n## mouse\n")
    assert "gone" not in text
    tables.replace_sections(file, {"mouse": tables.section(row, made_results(row))})
    assert file.read_text() == text


def test_plot_is_drawn_and_small(tmp_path):
    path = tmp_path / "images" / "plot.png"
    plot.draw({name: (ROWS[name], made_results(ROWS[name])) for name in ("mouse", "icbm")}, path)
    assert 1000 < path.stat().st_size < 200 * 1024


def test_every_task_has_a_command(tmp_path):
    from benchmarks.methods import METHODS, command

    job = Job(str(tmp_path), "fixed.nii.gz", "moving.nii.gz", "deformable", 2, "mask.nii.gz", "mask2.nii.gz")
    line = command("regcore", job, "default")
    assert "--settings" in line
    assert line[line.index("--fixed-mask") + 1] == "mask.nii.gz"
    for method in METHODS.values():
        assert {row.task for row in ROWS.values()} <= set(method.settings)


def test_morphometry_counts_signs_and_ranks():
    labels = np.array([-8.0, -5, -1, 2, 6])
    effects = pandas.DataFrame(
        {
            "percent_labels": labels,
            "percent_jacobians": [-6.0, -5, 1, 2, 4],
            "p_labels": [0.01, 0.02, 0.6, 0.3, 0.04],
        }
    )
    table = morphometry.agreement(effects).set_index("structures")
    assert table.loc["all", ["count", "same_sign", "spearman"]].tolist() == [5, 0.8, 1.0]
    assert table.loc["p < 0.05 by labels", ["count", "same_sign"]].tolist() == [3, 1.0]
