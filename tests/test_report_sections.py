"""Sections of the report that only some studies have."""

import pandas as pd
import pytest

from regcore.qc.sections import sessions_section


def sessions(change: list[float], own_change: list[float]) -> pd.DataFrame:
    """Two subjects with a baseline and a later session."""
    return pd.DataFrame(
        {
            "participant_id": ["sub-a", "sub-a", "sub-b", "sub-b"],
            "session_id": ["ses-1", "ses-2", "ses-1", "ses-2"],
            "baseline_session_id": "ses-1",
            "structure": "ventricle",
            "volume_change_percent": change,
            "own_volume_change_percent": own_change,
        }
    )


@pytest.mark.parametrize(
    ("change", "own_change", "drawn", "rigid"),
    [
        ([0, 4, 0, 5], [0, 3, 0, 6], ["transforms", "labels of each session"], False),
        ([0, 4, 0, 5], [float("nan")] * 4, ["transforms"], False),
        ([0, 1e-12, 0, -1e-12], [0, 3, 0, 6], ["labels of each session"], True),
        ([0, 0, 0, 0], [float("nan")] * 4, [], True),
    ],
)
def test_sessions_draw_what_changes(
    change: list[float], own_change: list[float], drawn: list[str], rigid: bool
) -> None:
    section = sessions_section(sessions(change, own_change), None)
    assert len(section.pictures) == len(drawn)
    assert all(word in shown for word, shown in zip(drawn, section.pictures, strict=True))
    assert any("no volume changes" in text for text in section.text) == rigid
