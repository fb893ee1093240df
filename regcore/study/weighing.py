"""What every member weighs: decided after one iteration, used in the next, written in ``qc.tsv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from regcore.io.tables import read_table, write_table
from regcore.qc.outliers import member_keys
from regcore.qc.weights import MEASURES, outlier_weights, reason_of, score_members
from regcore.study.manifest import Entry
from regcore.study.overrides import Override
from regcore.study.settings import QualitySettings

QC = "qc.tsv"
COLUMNS = ["participant_id", "session_id", "weight", "reason", "next_weight", "next_reason"]
SETTLED = 0.1
"""Change of a member's weight below which an iteration's average is as good as the next one's."""


@dataclass(frozen=True)
class Weight:
    """What a member weighs, 0 to 1, and why it is not 1."""

    value: float = 1.0
    reason: str = ""

    @property
    def entry(self) -> Entry:
        """What a manifest says of it."""
        return {"weight": self.value, "reason": self.reason}


def read_weights(table: Path, following: bool = True) -> dict[str, Weight]:
    """Weights by member from the ``qc.tsv`` of an iteration.

    Parameters
    ----------
    table : Path
    following : bool
        Those decided for the iteration that follows, or those its own average was made with.
    """
    weight, reason = ("next_weight", "next_reason") if following else ("weight", "reason")
    frame = read_table(table)
    rows = zip(member_keys(frame), frame[weight], frame[reason], strict=True)
    return {key: Weight(float(value), "" if pd.isna(why) else str(why)) for key, value, why in rows}


def weigh(key: str, decided: Mapping[str, Weight], overrides: Mapping[str, Override]) -> Weight:
    """Weight of a member in the coming average: a person's decision first, then the rule's.

    Examples
    --------
    >>> weigh("sub-01", {"sub-01": Weight(0.5, "outlier")}, {"sub-01": Override("keep")})
    Weight(value=1.0, reason='override: keep')
    """
    override = overrides.get(key)
    if override is not None and override.weight is not None:
        return Weight(override.weight, override.words)
    return decided.get(key, Weight())


def judge_members(
    output: Path,
    members: Sequence[tuple[str, Entry]],
    about: Mapping[str, Any],
    settings: QualitySettings,
) -> bool:
    """Write the ``qc.tsv`` of an iteration: measures, scores, what every member weighed and will weigh.

    Parameters
    ----------
    output : Path
        The table.
    members : sequence of (str, Entry)
        Key and manifest entry of every registered member.
    about : mapping
        Columns that are the same in every row: stage, iteration.
    settings : QualitySettings

    Returns
    -------
    bool
        Whether the weights have settled: whether the next average would weigh nearly as this one did.
    """
    qualities = [entry.get("quality", {}) for _, entry in members]
    measures = pd.DataFrame(qualities).reindex(columns=list(MEASURES))
    scored = score_members(measures, settings.measures)
    rule = settings.rule if len(members) >= settings.fewest else "none"
    weights = outlier_weights(scored["score"], rule, settings.threshold)
    judged = measures.join(scored).to_dict("records")
    rows = []
    for (key, entry), quality, row, weight in zip(members, qualities, judged, weights, strict=True):
        now = Weight(entry["weight"], entry["reason"])
        coming = Weight(float(weight), reason_of(row, settings.threshold) if weight < 1 else "")
        if now.reason.startswith("override"):
            # a person's decision holds until the person changes it
            coming = now
        participant, _, session = key.partition("_")
        rows.append(
            {
                "participant_id": participant,
                "session_id": session or None,
                **about,
                "weight": now.value,
                "reason": now.reason,
                "score": row["score"],
                "worst": row["worst"],
                "held": about["stage"] in entry.get("held", ()),
                **{name: value for name, value in quality.items() if not isinstance(value, list)},
                "next_weight": coming.value,
                "next_reason": coming.reason,
            }
        )
    frame = pd.DataFrame(rows, columns=None if rows else COLUMNS)
    write_table(output, frame)
    return all(abs(row["next_weight"] - row["weight"]) <= SETTLED for row in rows)
