"""The report in a real browser: nothing is fetched, tables sort, clicks show members, decisions download."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bokeh.plotting import figure

from regcore.image import Image
from regcore.qc.report import Methods, ReportData, Section, build_report
from regcore.qc.slices import sheet_of, slice_sheet
from regcore.qc.weights import outlier_weights, reason_of, score_members
from regcore.registration.presets import preset_names
from regcore.space import Grid
from regcore.study.overrides import read_overrides
from tests.browsing import opened
from tests.reports import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def head(seed: int, size: int = 40) -> Image:
    generator = np.random.default_rng(seed)
    x = np.mgrid[:size, :size, :size] - size / 2 + generator.uniform(-1, 1, 3)[:, None, None, None]
    radius = np.sqrt((x**2).sum(axis=0))
    data = (radius < 15) + 0.5 * (radius < 9) + generator.normal(0, 0.02, radius.shape)
    return Image(data.astype(np.float32), Grid(data.shape, np.diag([3.0, 3, 3, 1])))


def made_report(count: int) -> ReportData:
    """Report of made members, the fourth of which is badly aligned."""
    template = head(0)
    mask = Image((template.data > 0.5).astype(np.uint8), template.grid)
    sheet = sheet_of(template, mask)
    sheets = [slice_sheet(head(seed), sheet) for seed in range(1, 5)]
    keys = [f"sub-{number:03d}" for number in range(1, count + 1)]
    generator = np.random.default_rng(0)
    qc = pd.DataFrame(
        {
            "participant_id": keys,
            "similarity_after": 0.95 + generator.normal(0, 0.01, count),
            "mask_dice": 0.97 + generator.normal(0, 0.003, count),
            "minimum_jacobian": 0.3 + generator.normal(0, 0.05, count),
        }
    )
    qc.loc[3, "similarity_after"] = 0.4
    qc = qc.join(score_members(qc))
    qc["weight"] = outlier_weights(qc["score"])
    qc["reason"] = [reason_of(row, 3.5) for row in qc.to_dict("records")]
    plot = figure(height=150, width=300)
    plot.scatter([1, 2], [3, 4])
    table = pd.DataFrame({HOSTILE: [1]})
    return ReportData(
        title=HOSTILE,
        templates=[("published", template)],
        template_mask=mask,
        members=[(key, sheets[number % 4]) for number, key in enumerate(keys)],
        qc=qc,
        overrides=[
            {
                "keys": [keys[1]],
                "action": "keep",
                "preset": "",
                "reason": HOSTILE,
                "who": "A. B.",
                "when": "2026",
            }
        ],
        presets=preset_names(),
        methods=Methods(f"Registered {HOSTILE} [1].", [(HOSTILE, "10.1/2")]),
        sections=[
            Section(
                "cohort", HOSTILE, parts=[Section("part", HOSTILE, [HOSTILE], views={HOSTILE: sheets[0]})]
            ),
            Section("statistics", HOSTILE, [HOSTILE], plots={HOSTILE: plot}, tables={HOSTILE: table}),
        ],
        quarantine=pd.DataFrame({"participant_id": [HOSTILE], "reason": [HOSTILE]}),
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(build_report(made_report(9)), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    with opened(browser, report) as found:
        yield found


def first_column(page: Page) -> list[str]:
    return page.locator("#judged tbody tr:visible td:first-child").all_inner_texts()


def test_the_table_sorts_and_narrows(page: Page) -> None:
    score = page.locator("#judged th", has_text="score").locator("button")
    score.click()
    score.click()
    assert page.locator("#judged th", has_text="score").get_attribute("aria-sort") == "descending"
    assert first_column(page)[0] == "sub-004"
    scores = [float(text) for text in page.locator("#judged tbody tr td:nth-child(3)").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page.locator("#judged th", has_text="member").locator("button").press("Enter")
    assert first_column(page) == [f"sub-{number:03d}" for number in range(1, 10)]
    page.locator("#find").fill("00")
    page.locator("#only").check()
    assert first_column(page) == ["sub-004"]


POINT_OF_A_MEMBER = """() => {
  const found = Bokeh.documents.map((each) => each.get_model_by_name("members"));
  const source = found.find((each) => each);
  const plot = source.document.roots()[0].children.map(([each]) => each)[0];
  const view = Bokeh.index.find_one(plot);
  view.el.scrollIntoView({ block: "center", behavior: "instant" });
  const box = view.el.getBoundingClientRect();
  const x = view.frame.x_scale.compute(4);
  const y = view.frame.y_scale.compute(source.data.score[3]);
  return { x: box.left + x, y: box.top + y };
}"""
"""Where the fourth member of the cohort is drawn in the first plot, pixels of the window."""


def test_a_row_a_picture_and_a_point_open_their_member(page: Page) -> None:
    page.locator("button.open", has_text="sub-002").click()
    assert page.locator("#viewer-name").inner_text() == "sub-002"
    assert page.evaluate("document.activeElement.id") == "viewer-name"
    page.keyboard.press("Escape")
    assert page.locator("#viewer").is_hidden()
    assert page.evaluate("document.activeElement.textContent") == "sub-002"
    page.locator(".card[data-key=sub-007]").click()
    assert page.locator("#viewer-name").inner_text() == "sub-007"
    page.keyboard.press("Escape")
    # pictures that load above it move a plot: it is clicked once it stands still
    before, place = None, page.evaluate(POINT_OF_A_MEMBER)
    while place != before:
        page.wait_for_timeout(500)
        before, place = place, page.evaluate(POINT_OF_A_MEMBER)
    page.mouse.click(place["x"], place["y"])
    page.wait_for_selector("#viewer:not([hidden])")
    assert page.locator("#viewer-name").inner_text() == "sub-004"
    assert "similarity 0.4" in page.locator("#viewer-reason").inner_text()
    assert page.locator("#judged tr.current").get_attribute("data-key") == "sub-004"


def test_slices_flicker_and_swipe(page: Page) -> None:
    page.locator("button.open", has_text="sub-001").click()
    first = page.locator("#where").inner_text()
    page.keyboard.press("ArrowUp")
    assert page.locator("#where").inner_text() != first
    page.keyboard.press("3")
    assert page.locator("#where").inner_text().startswith("x = ")
    assert page.locator("#stage").get_attribute("aria-label").startswith("sub-001, sagittal slice")
    member = page.locator("#layer-member")
    page.keyboard.press(" ")
    assert member.evaluate("each => each.style.visibility") == "hidden"
    page.locator(".view[data-view=flicker]").click()
    seen = set()
    for _ in range(40):
        seen.add(member.evaluate("each => each.style.visibility"))
        page.wait_for_timeout(50)
    assert seen == {"visible", "hidden"}
    page.locator(".view[data-view=swipe]").click()
    page.locator("#swipe").fill("30")
    assert "70%" in member.evaluate("each => each.style.clipPath")
    page.keyboard.press("Escape")


def test_pictures_are_drawn_only_when_they_are_looked_at(page: Page) -> None:
    drawn = page.locator(".card[data-key=sub-001] .tile")
    page.locator("#members").scroll_into_view_if_needed()
    page.wait_for_selector(".card[data-key=sub-001] .tile")
    assert drawn.count() == 3
    assert "blob:" in drawn.first.evaluate("each => each.style.backgroundImage")
    loaded: Any = drawn.first.evaluate(
        """each => new Promise((done) => {
          const picture = new Image();
          picture.onload = () => done([picture.naturalWidth, picture.naturalHeight]);
          picture.src = each.style.backgroundImage.match(/url\\("([^"]*)"\\)$/)[1];
        })"""
    )
    assert loaded[0] == 5 * loaded[1]


def test_decisions_download_as_the_table_that_the_build_reads(page: Page, tmp_path: Path) -> None:
    page.locator("#who").fill("C. D.")
    page.locator("button.open", has_text="sub-004").click()
    page.locator("input[name=action][value=retry]").check()
    page.locator("#preset").select_option("t1-brain")
    page.locator("#reason").fill('turned\tby "half"')
    page.locator("#reason").press("Tab")
    page.locator("#viewer-name").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("n")
    assert page.locator("#marked").inner_text() == "3 marks, not all downloaded"
    with page.expect_download() as waiting:
        page.locator("#download").click()
    path = tmp_path / "overrides.tsv"
    waiting.value.save_as(path)
    assert waiting.value.suggested_filename == "overrides.tsv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [(row["participant"], row["action"], row["preset"]) for row in rows] == [
        ("sub-002", "keep", "n/a"),
        ("sub-004", "retry", "t1-brain"),
        ("sub-005", "exclude", "n/a"),
    ]
    assert rows[0]["reason"] == " ".join(HOSTILE.split())
    assert rows[1]["reason"] == 'turned by "half"'
    assert [row["who"] for row in rows] == ["A. B.", "C. D.", "C. D."]
    assert rows[0]["when"] == "2026"
    found = read_overrides(path, [f"sub-{number:03d}" for number in range(1, 10)])
    assert {key: override.action for key, override in found.items()} == {
        "sub-002": "keep",
        "sub-004": "retry",
        "sub-005": "exclude",
    }


def test_everything_on_the_page_has_a_name(page: Page) -> None:
    page.locator("button.open", has_text="sub-001").click()
    nameless: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, img, [role=img]")]
          .filter((each) => each.getClientRects().length && !each.closest(".bk-GridPlot, .bk-Figure"))
          .filter((each) => !(each.getAttribute("aria-label") || each.alt || each.textContent.trim()
            || (each.labels && each.labels.length)))
          .map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    page.keyboard.press("Escape")


@pytest.mark.slow
def test_two_hundred_members_are_light(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    data = made_report(200)
    # as large as real ones: noise does not compress
    generator = np.random.default_rng(0)
    template = data.templates[-1][1]
    noisy = Image(generator.normal(0.5, 0.2, template.grid.shape).astype(np.float32), template.grid)
    sheet = slice_sheet(noisy, sheet_of(template, data.template_mask))
    members = [(key, sheet) for key, _ in data.members]
    path.write_text(build_report(ReportData(**{**data.__dict__, "members": members})), encoding="utf-8")
    assert path.stat().st_size < 60_000_000
    opened = browser.new_page()
    opened.goto(path.as_uri())
    opened.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    assert opened.locator("#judged tbody tr").count() == 200
    assert opened.locator(".tile").count() < 200
    opened.close()
