"""A report in a real browser, which must have all it needs in itself and do what it says without an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IS_SHOWN = """(each) => each.decode().then(() => each.naturalWidth > 0, () => false)"""
IS_DRAWN = """(each) => Bokeh.documents.some((known) => known.roots().some((root) => {
  const view = Bokeh.index.find_one(root);
  return view && each.contains(view.el) && view.el.getBoundingClientRect().height > 50;
}))"""


@contextmanager
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    """The page, loaded and drawn; fails at the end if anything was fetched or went wrong."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    # a machine that is busy with other things needs more than half a minute to draw all plots
    page.set_default_timeout(180_000)
    problems: list[str] = []
    page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: check_address(request.url, report, problems))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    page.close(run_before_unload=False)
    assert problems == []


def check_address(address: str, report: Path, problems: list[str]) -> None:
    if not address.startswith(("data:", "blob:")) and address.split("#")[0] != report.as_uri():
        problems.append(f"fetched {address[:100]}")


def look_through(browser: Browser, report: Path, members: Sequence[str], sections: Sequence[str]) -> None:
    """Go to every section of the report of a study, see every picture and plot, open every member.

    Parameters
    ----------
    browser : Browser
    report : Path
    members : sequence of str
        Who must be there.
    sections : sequence of str
        Some of those that must be there, by their name in the page.
    """
    with opened(browser, report) as page:
        names = [link.get_attribute("href") for link in page.locator("nav a").all()]
        assert {f"#{name}" for name in sections} <= set(names)
        for name in names:
            page.locator(f"nav a[href='{name}']").click()
            assert page.locator(f"section{name}").bounding_box()["height"] > 20, name
        for element, test in (("main img", IS_SHOWN), ("main .bokeh", IS_DRAWN)):
            found = page.locator(element)
            assert found.count() > 0
            for each in found.all():
                each.scroll_into_view_if_needed()
                assert each.evaluate(test), each.get_attribute("alt") or each.get_attribute("aria-label")
        assert sorted(page.locator("#judged tbody button.open").all_inner_texts()) == sorted(members)
        for key in members:
            page.locator("#judged button.open", has_text=key).click()
            assert page.locator("#viewer-name").inner_text() == key
            picture = page.locator("#layer-member").evaluate("each => each.style.backgroundImage")
            assert "blob:" in picture or "data:" in picture
            page.keyboard.press("Escape")
