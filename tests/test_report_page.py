"""The report as one page: safe with any name, complete, and there for any study."""

import dataclasses
import re

import pandas as pd
import pytest

from regcore.qc.report import ReportData, accuracy_summary, build_report, digest, facts
from tests.reports import HOSTILE, full_data


def test_accuracy_is_that_of_the_fusion_in_use():
    data = full_data()
    summary = accuracy_summary(data.validation)
    assert summary["fusion"].tolist() == ["joint", HOSTILE]
    assert summary["dice"].tolist() == [0.8, 0.55]
    assert summary["absolute_volume_bias_percent"].tolist() == [1.0, 7.5]
    assert ("Dice, leave one atlas out", "0.800") in facts(data)
    assert accuracy_summary(None) is None


@pytest.fixture(scope="module")
def page():
    return build_report(full_data())


def test_only_the_scripts_of_the_page_may_run(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data: blob:; ")
    allowed = set(re.findall(r"'sha256-([^']*)'", policy))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert {digest(script) for script in scripts} == allowed
    assert "unsafe-eval" not in policy
    for word in ("@import", "<link", "<iframe", "javascript:", ' src="http'):
        assert word not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL), word


def test_hostile_names_are_text_everywhere(page):
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "</script>alert" not in page
    assert "{{ 7*7 }}" in page
    # no attribute is closed early by a quote within a name
    assert 'alt="<' not in page
    assert re.search(r'alt="[^"]*&lt;script&gt;', page)


def test_every_picture_says_what_it_shows(page):
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) >= 7
    assert all(re.search(r'alt="[^"]{10,}"', element) for element in pictures)
    assert len(page) < 4_000_000


def test_the_flagged_member_comes_first(page):
    mosaic = page[page.index('id="members"') : page.index('id="variance"')]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", mosaic)
    assert len(captions) == 6
    assert "badge" in captions[0]
    assert all("badge" not in caption for caption in captions[1:])


def test_every_link_in_the_page_has_a_target(page):
    for name in re.findall(r'href="#([a-z]+)"', page):
        assert f'id="{name}"' in page


def test_a_study_without_a_template_still_has_a_report():
    page = build_report(ReportData(title="pairs"))
    assert "no template built" in page
    assert 'id="template"' not in page


def test_empty_tables_are_passed_over():
    empty = pd.DataFrame({"participant_id": [], "structure": [], "volume_mm3": [], "dice": []})
    page = build_report(
        ReportData(
            title="t",
            volumes=empty,
            overlap=empty,
            jacobians=empty,
            registrations=empty,
            quarantine=empty,
            convergence=empty,
            cohort=empty,
            outputs=empty,
            runtime=pd.DataFrame({"rule": [], "seconds": []}),
        )
    )
    assert "No image was set aside" in page


def test_only_members_on_the_template_are_flagged_in_the_viewer():
    data = full_data()
    rows = data.registrations.assign(stage="atlas", moving="sub-9")
    page = build_report(dataclasses.replace(data, registrations=rows))
    assert "atlas: 1" in page
    assert '"flagged":true' not in page
    assert '"flagged":true' in build_report(data)
