"""Outliers: robust scores, what counts as one, and where they are looked for."""

import numpy as np
import pandas as pd

from regcore.qc import checks
from regcore.qc.findings import find_outliers
from regcore.qc.outliers import Measure, measure_outliers, member_keys, robust_scores, structure_outliers
from regcore.qc.report import ReportData


def test_scores_are_standard_deviations_for_normal_values():
    values = np.random.default_rng(1).normal(5.0, 2.0, 20001)
    np.testing.assert_allclose(robust_scores(values), (values - 5.0) / 2.0, atol=0.15)


def test_scores_ignore_what_is_not_finite_and_survive_equal_values():
    scores = robust_scores([1.0, 2.0, np.nan, 3.0, np.inf, 50.0])
    assert np.isnan(scores[[2, 4]]).all()
    assert scores[5] > 10
    assert (robust_scores([7.0] * 6) == 0).all()
    assert (robust_scores([0.1 + 0.2, 0.3, 0.3, 0.3]) == 0).all()
    assert (robust_scores([1.0, 900.0]) == 0).all()
    assert robust_scores([]).size == 0


def test_one_value_apart_from_equal_ones_is_found():
    # the median absolute deviation is zero here
    scores = robust_scores([0.0] * 20 + [4.0])
    assert scores[-1] > 3.5
    assert (scores[:-1] == 0).all()


def test_measures_are_flagged_on_the_side_that_matters():
    frame = pd.DataFrame(
        {
            "participant_id": list("abcdef"),
            "similarity_after": [0.8, 0.81, 0.82, 0.79, 0.2, 1.5],
            "other": 0.0,
        }
    )
    found = measure_outliers(frame, {"similarity_after": Measure("low"), "missing": Measure("high")})
    assert found["member"].tolist() == ["sub-e"]
    assert found["score"].iloc[0] < -3.5
    both = measure_outliers(frame, {"similarity_after": Measure("both")})
    assert set(both["member"]) == {"sub-e", "sub-f"}


def test_structures_are_compared_with_the_same_structure_only():
    values = {"large": [100.0, 101, 99, 100], "small": [1.0, 1.1, 0.9, 5.0]}
    frame = pd.DataFrame(
        [{"participant_id": m, "name": n, "v": v[i]} for n, v in values.items() for i, m in enumerate("abcd")]
    )
    found = structure_outliers(frame, "name", "v")
    assert found[["member", "structure"]].to_numpy().tolist() == [["sub-d", "small"]]


def test_keys_name_sessions_once():
    frame = pd.DataFrame({"participant_id": ["sub-01", "02"], "session_id": ["ses-a", np.nan]})
    assert member_keys(frame).tolist() == ["sub-01_ses-a", "sub-02"]


def registrations_of(stage, similarities, **more):
    rows = {"participant_id": [f"sub-{number}" for number in range(len(similarities))], "stage": stage}
    return pd.DataFrame({**rows, "similarity_after": similarities, **more})


def outliers_in(*frames):
    return find_outliers(ReportData(title="t", registrations=pd.concat(frames, ignore_index=True)))


def test_outliers_are_found_in_every_stage():
    good, bad = [0.9, 0.91, 0.89, 0.9, 0.9, 0.9], [0.9, 0.91, 0.89, 0.2, 0.9, 0.9]
    population = registrations_of("population", good)
    assert outliers_in(population, registrations_of("sessions", good)).empty
    assert checks.check_outliers(outliers_in(population), 6).verdict == "pass"
    visits = registrations_of("sessions", bad, session_id="ses-2")
    atlases = registrations_of("atlas", bad, moving="sub-9")
    found = outliers_in(visits, atlases, registrations_of("population", bad))
    assert found[["member", "stage", "moving"]].fillna("").values.tolist() == [
        ["sub-3", "population", ""], ["sub-3_ses-2", "sessions", ""], ["sub-3", "atlas", "sub-9"],
    ]  # fmt: skip
    check = checks.check_outliers(found, 6)
    assert check.verdict == "look"
    assert check.found == "population: 1 of 6 (sub-3); sessions: 1 (sub-3_ses-2); atlas: 1 (sub-3)"


def test_iterations_of_a_template_only_lead_to_the_registrations_that_count():
    good, bad = [0.9, 0.91, 0.89, 0.9, 0.9, 0.9], [0.9, 0.91, 0.89, 0.2, 0.9, 0.9]
    early = registrations_of("affine", bad, iteration=1)
    assert outliers_in(early, registrations_of("population", good, iteration=None)).empty
