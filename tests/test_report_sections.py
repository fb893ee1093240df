"""Sections of the report that only some studies have."""

import numpy as np
import pandas as pd
import pytest

from regcore.qc.interactive import histogram_plot
from regcore.qc.report import ReportData, build_report
from regcore.qc.sections import accumulated_section, sessions_section
from tests.reports import HOSTILE


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


def test_accumulated_maps_have_a_panel_a_structure_and_a_line_a_participant() -> None:
    rows = [
        {"participant_id": f"sub-{member}", "segmentation": "own", "structure": name, "value": value,
         "volume_share": max(0.0, 1 - value / (member * most))}
        for member in (1, 2) for name, most in (("lens", 1.0), (HOSTILE, 4.0)) for value in np.arange(9.0)
    ]  # fmt: skip
    histograms = pd.DataFrame(rows)
    panels = [panel for panel, _, _ in histogram_plot(histograms, "dose").children]
    # the structure that reaches the largest values comes first
    assert [each.title.text for each in panels] == [HOSTILE, "lens"]
    data = panels[0].renderers[0].data_source.data
    assert data["key"] == ["sub-1", "sub-2"]
    assert data["share"][0] == [100.0, 75.0, 50.0, 25.0, 0.0]
    section = accumulated_section(histograms.head(2), histograms, "dose")
    page = build_report(ReportData(title="t", sections=[section]))
    assert 'id="accumulated-plot-1"' in page
    assert "<script>alert" not in page
    empty = histograms.assign(volume_share=0.0)
    assert not accumulated_section(histograms, empty, "dose").plots
