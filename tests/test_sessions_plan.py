"""Sessions in the plan: which subjects there are, in what order their sessions come, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regcore.errors import InputError
from regcore.io.cohort import Member
from regcore.study.config import Study
from regcore.study.overrides import Override
from regcore.study.plan import Plan
from regcore.study.regions import SubjectLabels
from regcore.study.settings import SessionsSettings
from regcore.study.subjects import group_sessions
from tests.longitudinal import CONFIG


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
    found = SubjectLabels(atlas=[], **plan.subject_labels("sub-a"))
    assert list(found.own) == ["sub-a", "sub-a_ses-1", "sub-a_ses-2"]
    assert found.own["sub-a_ses-2"] == str(tmp_path / "a2.nii")
    assert found.layout == plan.layout
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
