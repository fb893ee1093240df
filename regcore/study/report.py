"""Stage 6: what the report shows, read from the results of a study."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import pandas as pd

from regcore import __version__
from regcore.image import Image
from regcore.io.files import disk_space
from regcore.io.nifti import read_image, read_labels
from regcore.io.tables import read_json, read_table, write_text
from regcore.qc.data import ReportData
from regcore.qc.planes import Convention
from regcore.qc.report import build_report
from regcore.qc.section import Section
from regcore.qc.sections import (
    accumulated_section,
    agreement_section,
    asymmetry_section,
    influence_section,
    sessions_section,
    statistics_section,
    strata_section,
)
from regcore.qc.statistics import DesignShown
from regcore.registration.presets import preset_names
from regcore.study.config import Study
from regcore.study.gather import STATE, TEMPLATE
from regcore.study.manifest import usable
from regcore.study.methods import describe_methods, libraries_of
from regcore.study.outputs import Layout
from regcore.study.stratify import Stratum
from regcore.study.weighing import QC

OUTPUTS = (
    ("tpl-{name}/", "template, foreground mask, variance, sharpened copy, bias certificate"),
    ("sub-*/anat/*_xfm.h5", "transforms to and from the template (ITK composite)"),
    ("sub-*/anat/*_desc-preproc_{suffix}.nii.gz", "images in template space"),
    ("sub-*/anat/*_logjac.nii.gz", "log-Jacobian maps; above 0 where the subject is larger"),
    ("tpl-{name}/*_atlas-*", "labels of the atlases on the template and how probable each is"),
    ("sub-*/anat/*_dseg.nii.gz", "labels, each with names for BIDS (.tsv) and ITK-SNAP (.label)"),
    ("statistics/*/", "maps and tables of every design, and who took part"),
    ("tables/*.tsv", "tables, each with a data dictionary (.json)"),
    ("qc.tsv", "what every member weighs in the template, and why"),
    ("quarantine.tsv", "images that were set aside, and why"),
)


def make_report(
    study: Study,
    layout: Layout,
    templates: Sequence[Path],
    measured: Sequence[Path],
    covariates: Sequence[Mapping[str, Any]],
    statistics: Sequence[str],
    overrides: Sequence[Mapping[str, Any]],
    output: Path,
    strata: Sequence[Stratum] = (),
    disk_mb: float = 0,
) -> None:
    """Write the report.

    Parameters
    ----------
    study : Study
    layout : Layout
        Where the results lie.
    templates : sequence of Path
        Folder of the template of every iteration.
    measured : sequence of Path
        Folders of the measured batches, for the pictures.
    covariates : sequence of mapping
        A row a member.
    statistics : sequence of str
        Names of the designs.
    overrides : sequence of mapping
        Decisions of a person, from `override_rows`.
    output : Path
        HTML file.
    strata : sequence of Stratum
        Conditional templates to show.
    """
    shown = [(f"iteration {folder.name}", read_image(folder / TEMPLATE)) for folder in _distinct(templates)]
    extra: dict[str, Any] = {}
    if templates:
        extra["template_mask"] = read_labels(layout.template_mask)
        published = layout.published()
        extra["variance"] = read_image(published["variance"])
        extra["certificate"] = read_json(published["certificate"])
        extra["convergence_threshold_mm"] = study.template.stop_mm
        shown.append(("published", read_image(layout.template_image)))
    tables = {file.stem: read_table(file) for file in sorted(layout.tables.glob("*.tsv"))}
    for name in ("convergence", "volumes", "jacobians", "overlap", "registrations", "runtime", "consistency"):
        extra[name] = tables.get(name)
    if "atlas_validation" in tables:
        extra["validation"], extra["fusion"] = tables["atlas_validation"], study.atlas.fusion
    versions = {
        "regcore": __version__,
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in libraries_of(study)},
    }
    members = [
        (key, (folder / entry["sheet"]).read_bytes())
        for folder in measured
        for key, entry in usable(folder)
        if "sheet" in entry
    ]
    if templates:
        extra["qc"] = read_table(layout.results / QC)
    excluded = int((extra["qc"]["weight"] == 0).sum()) if templates else 0
    convention = cast(Convention, study.report.convention)
    conditional = [(each.name, read_image(layout.stratum(each.number)["template"])) for each in strata]
    template, mask = (shown[-1][1] if shown else None), extra.get("template_mask")
    outputs = [(path.format(name=layout.template, suffix=layout.suffix), text) for path, text in OUTPUTS]
    data = ReportData(
        title=study.report.title or f"Study {study.template.name}",
        versions=versions,
        settings=dataclasses.asdict(study),
        cohort=pd.DataFrame(list(covariates)),
        quarantine=read_table(layout.results / "quarantine.tsv"),
        templates=shown,
        members=members,
        threshold=study.qc.threshold,
        overrides=overrides,
        presets=preset_names(),
        methods=describe_methods(
            study,
            len(members) or len(covariates),
            excluded,
            versions,
            sessions=_sessions_in(tables),
            labelled="jacobians" in tables,
            overrides=overrides,
        ),
        outputs=pd.DataFrame(outputs, columns=["path", "description"]),
        convention=convention,
        disk_gb=(disk_space(layout.results) / 1e9, disk_mb / 1e3),
        sections=_sections(
            tables,
            [_design(name, layout) for name in statistics],
            conditional,
            template,
            mask,
            convention,
            str(study.sessions.accumulate),
        ),
        **extra,
    )
    write_text(output, build_report(data))


def _sections(
    tables: Mapping[str, pd.DataFrame],
    designs: Sequence[DesignShown],
    strata: Sequence[tuple[str, Image]],
    template: Image | None,
    mask: Image | None,
    convention: Convention,
    what: str,
) -> list[Section]:
    """What only some studies have; `what` is the name of the maps that are added up over sessions."""
    known = {name: table for name, table in tables.items() if not table.empty}
    found = []
    if strata:
        found.append(strata_section(strata, mask, convention))
    if "influence" in known:
        found.append(influence_section(known["influence"]))
    if "asymmetry" in known:
        found.append(asymmetry_section(known["asymmetry"]))
    if "sessions" in known:
        found.append(sessions_section(known["sessions"], known.get("propagation")))
    if "accumulated" in known:
        found.append(accumulated_section(known["accumulated"], known["histograms"], what))
    if "consistency" in known:
        found.append(agreement_section(known["volumes"], known["jacobians"], known["consistency"]))
    if designs:
        found.append(statistics_section(designs, template, mask, convention))
    return found


def _sessions_in(tables: Mapping[str, pd.DataFrame]) -> int:
    """How many sessions took part, where those of a participant are one member."""
    keys = ["participant_id", "session_id"]
    return len(tables["sessions"][keys].drop_duplicates()) if "sessions" in tables else 0


def _design(name: str, layout: Layout) -> DesignShown:
    """What a design found."""
    folder = layout.statistics / name
    summary = read_json(folder / "summary.json")
    maps = {}
    for contrast in summary.get("Maps", {}):
        # clusters see more than single voxels, where both were looked at
        files = [layout.statistic_map(name, contrast, kind) for kind in ("logpFweTfce", "logpFwe", "logpFdr")]
        corrected = next(file for file in files if file.exists())
        maps[contrast] = (read_image(layout.statistic_map(name, contrast, "t")), read_image(corrected))
    people = read_table(folder / "participants.tsv")
    identifiers = [column for column in ("participant_id", "session_id") if column in people]
    table = folder / "structures.tsv"
    return DesignShown(
        name,
        summary,
        read_table(table) if table.exists() else None,
        maps,
        people.loc[people["took_part"] == "no", [*identifiers, "reason"]],
    )


def _distinct(templates: Sequence[Path]) -> list[Path]:
    """Iterations that did not merely repeat the one before."""
    kept = []
    for folder in templates:
        rows = read_json(folder / STATE)["rows"]
        if not rows or not rows[-1]["passed_through"]:
            kept.append(folder)
    return kept
