"""The report of a study: one HTML page that opens offline, where the study is judged."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

import jinja2
import pandas as pd
from markupsafe import Markup

from regcore.qc import checks
from regcore.qc.data import Methods, ReportData
from regcore.qc.findings import (
    SHOWN,
    STRUCTURE,
    accuracy_summary,
    chosen_fusion,
    find_outliers,
    runtime_summary,
    usage_sentence,
)
from regcore.qc.html import duration, flatten, measure, number, picture, table
from regcore.qc.interactive import bokeh_script, plot_json
from regcore.qc.pictures import plots_of, template_pictures
from regcore.qc.section import Section, every_section
from regcore.qc.viewer import judged_members, viewer_of

__all__ = ["Methods", "ReportData", "Section", "accuracy_summary", "build_report", "facts", "headline"]


def build_report(data: ReportData) -> str:
    """Whole report as one HTML page with nothing to fetch; its content policy lets no other script run.

    Parameters
    ----------
    data : ReportData

    Returns
    -------
    str
        HTML; every text of `data` is escaped, every picture embedded.

    Examples
    --------
    >>> page = build_report(ReportData(title="Study <1>"))
    >>> "Study &lt;1&gt;" in page
    True
    """
    flagged = find_outliers(data)
    count = len(data.members) or (0 if data.cohort is None else len(data.cohort))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regcore", "qc"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["measure"] = measure
    environment.globals["picture"] = picture
    environment.globals["table"] = table
    verdicts = [
        checks.check_certificate(data.certificate),
        checks.check_convergence(data.convergence, data.convergence_threshold_mm),
        *checks.check_registrations(data.registrations),
        checks.check_outliers(flagged, count),
        checks.check_weights(data.qc),
        checks.check_agreement(data.consistency),
        checks.check_quarantine(data.quarantine, count),
    ]
    judged = judged_members(data)
    viewer = viewer_of(data, judged, set(flagged.loc[flagged["stage"].isin(SHOWN), "member"]))
    plots = viewer.plots | {
        f"{section.name}-plot-{index}": plot_json(plot, f"{section.name}-plot-{index}")
        for section in every_section(data.sections)
        for index, plot in enumerate(section.plots.values(), start=1)
    }
    scripts = [package_text("report.js")]
    if plots:
        scripts.insert(0, bokeh_script())
    return environment.get_template("report.html.j2").render(
        data=data,
        checks=verdicts,
        headline=headline(verdicts),
        facts=facts(data),
        viewer=viewer,
        judged=judged,
        # `script_json` leaves no < in a plot, and the scripts are those of the package
        plots={name: Markup(text) for name, text in plots.items()},  # noqa: S704 # nosec B704
        scripts=[Markup(script) for script in scripts],  # noqa: S704 # nosec B704
        policy=" ".join(f"'sha256-{digest(script)}'" for script in scripts),
        outliers=flagged,
        templates=template_pictures(data),
        figures=plots_of(data),
        runtime=runtime_summary(data.runtime),
        usage=usage_sentence(data.runtime, data.disk_gb),
        accuracy=accuracy_summary(data.validation),
        settings=flatten(data.settings),
    )


def package_text(name: str) -> str:
    """A text file of this room."""
    return (resources.files("regcore.qc") / name).read_text(encoding="utf-8")


def digest(script: str) -> str:
    """What the page's content policy knows a script by.

    Examples
    --------
    >>> digest("")
    '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def headline(verdicts: Sequence[checks.Check]) -> tuple[str, str]:
    """Worst verdict and the sentence that says it."""
    found = [check.verdict for check in verdicts]
    if "fail" in found:
        return "fail", "Not ready to use: at least one check failed."
    if "look" in found:
        return "look", "Usable after a look: some points below need a person's eye."
    return "pass", "All checks passed."


def facts(data: ReportData) -> list[tuple[str, str]]:
    """Few numbers at the top of the page."""
    rows = []
    if data.members or data.cohort is not None:
        cohort = data.cohort if data.cohort is not None else pd.DataFrame()
        rows.append(("members", str(len(data.members) or len(cohort))))
    if data.convergence is not None:
        rows.append(("iterations", str(len(data.convergence))))
    if data.templates:
        grid = data.templates[-1][1].grid
        sizes = [f"{size:.3g}" for size in grid.spacing]
        rows.append(("template voxel, mm", sizes[0] if len(set(sizes)) == 1 else " × ".join(sizes)))
    name = checks.first_column(data.volumes, *STRUCTURE)
    if data.volumes is not None and name is not None:
        rows.append(("structures", str(data.volumes[name].nunique())))
    if data.validation is not None and not data.validation.empty:
        mean = float(chosen_fusion(data)["dice"].mean())
        rows.append(("Dice, leave one atlas out", f"{mean:.3f}"))
    if data.overlap is not None and "dice" in data.overlap:
        rows.append(("mean Dice", f"{float(data.overlap['dice'].mean()):.3f}"))
    summary = runtime_summary(data.runtime)
    if summary is not None:
        rows.append(("time of all jobs", duration(float(summary["total_seconds"].sum()))))
    return rows
