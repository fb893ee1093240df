"""The statistics of a study on made Jacobian maps, from the configuration to the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import read_json, read_table, write_table
from regcore.morphometry import smooth_map
from regcore.qc.report import ReportData, build_report
from regcore.qc.sections import agreement_section, statistics_section
from regcore.qc.statistics import agreement_figure
from regcore.space import Grid
from regcore.study.config import Study
from regcore.study.designs import plan_design
from regcore.study.manifest import good, set_aside, write_manifest
from regcore.study.morphometry import morphometry_batch, template_labels
from regcore.study.outputs import Layout
from regcore.study.plan import Plan
from regcore.study.report import _design
from regcore.study.settings import DesignSettings, MorphometrySettings, StatisticsSettings
from regcore.study.statistics import statistics_design

GRID = Grid((16, 15, 14), np.diag([2.0, 2.0, 2.0, 1.0]))
BALL = (slice(4, 8), slice(5, 9), slice(5, 9))


def people(sessions: int = 1) -> list[dict[str, Any]]:
    """Sixteen rows; the last two lack something."""
    generator = np.random.default_rng(3)
    count = 16 // sessions
    ages = generator.uniform(20, 80, count).round(1)
    rows = []
    for number in range(16):
        person, session = number // sessions, number % sessions
        rows.append(
            {
                "participant_id": f"sub-{person:02d}",
                "session_id": None if sessions == 1 else f"ses-{session + 1}",
                "age": float(ages[person]) + 2 * session,
                "group": "ab"[person % 2],
                "years": 2.0 * session,
            }
        )
    rows[-1]["age"] = None
    return rows


def key_of(row: dict[str, Any]) -> str:
    return "_".join(part for part in (row["participant_id"], row["session_id"]) if part)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "results", "Made")


def make_study(layout: Layout, rows: list[dict[str, Any]]) -> Path:
    """Maps that grow with age in a ball and nowhere else; the member before the last is set aside."""
    generator = np.random.default_rng(0)
    inside, labels = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.int32)
    inside[2:-2, 2:-2, 2:-2] = 1
    labels[BALL], labels[9:12, 5:9, 5:9] = 1, 2
    write_image(layout.template_image, Image(inside.astype(np.float32), GRID))
    write_image(layout.template_mask, Image(inside, GRID))
    entries, measures = {}, []
    for number, row in enumerate(rows):
        key = key_of(row)
        entries[key] = (
            set_aside("population", "made up") if number == len(rows) - 2 else good(labels=True, weight=1.0)
        )
        if entries[key]["status"] != "ok":
            continue
        data = generator.normal(scale=0.3, size=GRID.shape).astype(np.float32)
        data[BALL] += 0.02 * ((row["age"] or 50) - 50)
        for kind in ("abs", "rel"):
            write_image(layout.log_jacobian(key, kind), Image(data, GRID))
        write_image(layout.warped_labels(key), Image(labels, GRID))
        for label in (1, 2):
            volume = float(np.exp(data[labels == label]).sum() * 8)
            identifiers = {name: row[name] for name in ("participant_id", "session_id") if row[name]}
            measures.append(
                {
                    **identifiers, "segmentation": "own", "label": label, "structure": f"s{label}",
                    "relative_mean": data[labels == label].mean(), "volume_mm3": volume,
                    "integrated_volume_mm3": volume,
                }
            )  # fmt: skip
    population, output = layout.work / "population" / "all", layout.work / "morphometry" / "all"
    write_manifest(population, entries)
    for name in ("jacobians", "volumes"):
        write_table(layout.tables / f"{name}.tsv", pd.DataFrame(measures))
    morphometry_batch(population, output, layout, MorphometrySettings(4.0))
    template_labels([population], layout, layout.template_labels, None)
    return output


def settings(**designs: DesignSettings) -> StatisticsSettings:
    return StatisticsSettings(permutations=99, designs=designs)


def test_an_effect_is_found_where_it_is(layout: Layout) -> None:
    rows = people()
    folder = make_study(layout, rows)
    chosen = settings(ageing=DesignSettings("logjac ~ age + group"))
    regions = {"own": layout.template_labels}
    output = layout.statistics / "ageing"
    statistics_design("ageing", [folder], regions, output, layout, rows, chosen)
    summary = read_json(output / "summary.json")
    assert (summary["Members"], summary["LeftOut"]) == (14, 2)
    found = read_table(output / "participants.tsv").set_index("participant_id")
    assert found["took_part"].tolist() == ["yes"] * 14 + ["no"] * 2
    assert found["reason"].tolist()[-2:] == ["set aside (see quarantine.tsv)", "age is missing"]
    middle = (5, 6, 6)
    for kind, least in (("t", 6.0), ("logpFwe", 1.9), ("logpFweTfce", 1.9), ("effect", 0.01)):
        data = read_image(layout.statistic_map("ageing", "age", kind)).data
        assert data[middle] > least
        assert data[0, 0, 0] == 0
    false = read_image(layout.statistic_map("ageing", "groupb", "logpFwe")).data
    assert false.max() < 1.3
    table = read_table(output / "structures.tsv").set_index(["structure", "contrast"])
    assert table.loc[("s1", "age"), "p_fdr"] < 1e-4
    assert table.loc[("s1", "age"), "effect"] == pytest.approx(0.02, abs=0.004)
    assert table.loc[("s2", "age"), "p"] > 0.01
    for file in ("structures", "participants", "design_matrix"):
        assert set(read_json(output / f"{file}.json")) == set(read_table(output / f"{file}.tsv").columns)
    # the same again gives the same bits
    before = layout.statistic_map("ageing", "age", "logpFweTfce").read_bytes()
    statistics_design("ageing", [folder], regions, output, layout, rows, chosen)
    assert layout.statistic_map("ageing", "age", "logpFweTfce").read_bytes() == before


def test_sessions_need_a_random_intercept_and_get_mixed_models(layout: Layout) -> None:
    rows = people(sessions=2)
    folder = make_study(layout, rows)
    with pytest.raises(InputError, match="random: expected participant_id, as participants have several"):
        plan_design("a", settings(a=DesignSettings("logjac ~ years")), rows, True)
    chosen = settings(change=DesignSettings("volume ~ years", random="participant_id"))
    output = layout.statistics / "change"
    statistics_design("change", [folder], {"own": layout.template_labels}, output, layout, rows, chosen)
    assert not list(output.glob("*.nii.gz"))
    table = read_table(output / "structures.tsv")
    assert table["model"].unique().tolist() == ["mixed"]
    assert "session_id" in read_table(output / "participants.tsv")


@pytest.mark.parametrize(
    ("design", "labelled", "message"),
    [
        (DesignSettings("thickness ~ age"), True, "formula: expected a response of logjac, absolute_logjac"),
        (DesignSettings("logjac ~ weight"), True, r"formula: expected covariates of the cohort \(age, group"),
        (DesignSettings("volume ~ age"), False, "formula: expected labels, to test structures"),
        (
            DesignSettings("logjac ~ age", random="site"),
            True,
            "random: expected participant_id or a covariate",
        ),
        (
            DesignSettings("logjac ~ age", random="participant_id"),
            True,
            "random: expected participant_id to repeat",
        ),
        (DesignSettings("logjac ~ age", reference={"group": "a"}), True, "reference: expected covariates of"),
        (DesignSettings("logjac ~ group", {"x": {"group[c]": 1}}), True, "contrasts.x: expected columns"),
    ],
)
def test_designs_are_refused_by_their_key(design: DesignSettings, labelled: bool, message: str) -> None:
    with pytest.raises(InputError, match=rf"^config statistics\.designs\.ageing\.{message}"):
        plan_design("ageing", settings(ageing=design), people(), labelled)


def test_designs_are_checked_in_the_plan(tmp_path: Path) -> None:
    lines = ["participant_id\timage\tage"]
    for number in range(6):
        (tmp_path / f"{number}.nii").write_bytes(b"-")
        lines.append(f"sub-{number}\t{number}.nii\t{20 + number}")
    (tmp_path / "cohort.tsv").write_text("\n".join(lines) + "\n")
    config = {
        "cohort": {"source": str(tmp_path / "cohort.tsv")},
        "targets": ["statistics"],
        "template": {"stages": [{"name": "affine", "linear": [{}]}]},
        "statistics": {"designs": {"one": {"formula": "logjac ~ age"}, "two": {"formula": "volume ~ age"}}},
    }
    plan = Plan.from_config(config)
    assert plan.designs == ["one", "two"]
    assert plan.uses_template
    assert list(plan.statistics_of("one").designs) == ["one"]
    assert plan.memory_mb("statistics_design/one", 2) == 2 * plan.memory_mb("statistics_design/one", 1)
    with pytest.raises(InputError, match=r"^config statistics\.designs\.two\.formula: expected labels"):
        plan.check_designs()
    with pytest.raises(InputError, match=r"statistics\.designs: expected a design for this target"):
        Study.from_dict({**config, "statistics": {}})
    with pytest.raises(InputError, match="a name of letters and digits"):
        Study.from_dict({**config, "statistics": {"designs": {"my_design": {"formula": "logjac ~ age"}}}})


def test_smoothed_maps_and_template_labels(layout: Layout) -> None:
    rows = people()
    make_study(layout, rows)
    key = key_of(rows[0])
    plain = read_image(layout.log_jacobian(key, "rel"))
    found = read_image(layout.smoothed_log_jacobian(key, "rel"))
    np.testing.assert_allclose(found.data, smooth_map(plain, 4.0).data, atol=6e-5)
    labels = read_labels(layout.template_labels)
    assert set(np.unique(labels.data)) == {0, 1, 2}
    assert read_json(layout.of_template("dseg.json"))["Members"] == 15


def test_the_page_shows_designs_and_agreement(layout: Layout) -> None:
    rows = people()
    folder = make_study(layout, rows)
    chosen = settings(ageing=DesignSettings("logjac ~ age + group"))
    regions = {"own": layout.template_labels}
    statistics_design("ageing", [folder], regions, layout.statistics / "ageing", layout, rows, chosen)
    tables = {name: read_table(layout.tables / f"{name}.tsv") for name in ("volumes", "jacobians")}
    consistency = pd.DataFrame(
        {
            "structure": ["s1", "s2"], "volume_mm3": [512.0, 384.0], "correlation": [0.9, np.nan],
            "bias_percent": [1.0, 2.0], "spread_percent": [3.0, 4.0],
        }
    )  # fmt: skip
    assert agreement_figure(tables["volumes"], tables["jacobians"], consistency).startswith(b"\x89PNG")
    template, mask = read_image(layout.template_image), read_labels(layout.template_mask)
    sections = [
        statistics_section([_design("ageing", layout)], template, mask, "neurological"),
        agreement_section(**tables, consistency=consistency),
    ]
    page = build_report(ReportData(title="Made", sections=sections, **tables))
    for text in (
        "logjac ~ age + group",
        "age is missing",
        "Agreement of Jacobians",
        "99 permutations",
        "groupb",
    ):
        assert text in page
