"""Stage 6: what the report shows, read from the results of a study."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd

from regcore import __version__
from regcore.io.nifti import read_image, read_labels
from regcore.io.tables import read_json, read_table, write_text
from regcore.qc.data import ReportData
from regcore.qc.report import build_report
from regcore.registration.presets import preset_names
from regcore.study.config import Study
from regcore.study.gather import STATE, TEMPLATE
from regcore.study.manifest import usable
from regcore.study.methods import describe_methods
from regcore.study.outputs import Layout
from regcore.study.weighing import QC

LIBRARIES = ("numpy", "scipy", "numba", "nibabel", "pandas", "snakemake")
OUTPUTS = (
    ("tpl-{name}/", "template, foreground mask, variance, sharpened copy, bias certificate"),
    ("sub-*/anat/*_xfm.h5", "transforms to and from the template (ITK composite)"),
    ("sub-*/anat/*_desc-preproc_{suffix}.nii.gz", "images in template space"),
    ("sub-*/anat/*_logjac.nii.gz", "log-Jacobian maps; above 0 where the subject is larger"),
    ("tpl-{name}/*_atlas-*", "labels of the atlases on the template and how probable each is"),
    ("sub-*/anat/*_dseg.nii.gz", "labels, each with names for BIDS (.tsv) and ITK-SNAP (.label)"),
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
    overrides: Sequence[Mapping[str, Any]],
    output: Path,
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
    overrides : sequence of mapping
        Decisions of a person, from `override_rows`.
    output : Path
        HTML file.
    """
    shown = [(f"iteration {folder.name}", read_image(folder / TEMPLATE)) for folder in _distinct(templates)]
    extra: dict[str, Any] = {}
    if templates:
        extra["template_mask"] = read_labels(layout.template_mask)
        extra["variance"] = read_image(layout.of_template(f"desc-variance_{layout.suffix}.nii.gz"))
        extra["certificate"] = read_json(layout.of_template("desc-bias_certificate.json"))
        extra["convergence_threshold_mm"] = study.template.stop_mm
        shown.append(("published", read_image(layout.template_image)))
    for name in ("convergence", "volumes", "jacobians", "overlap", "registrations", "runtime"):
        file = layout.tables / f"{name}.tsv"
        if file.exists():
            extra[name] = read_table(file)
    if (layout.tables / "atlas_validation.tsv").exists():
        extra["validation"] = read_table(layout.tables / "atlas_validation.tsv")
        extra["fusion"] = study.atlas.fusion
    versions = {
        "regcore": __version__,
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
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
        methods=describe_methods(study, len(members) or len(covariates), excluded, versions),
        outputs=pd.DataFrame(outputs, columns=["path", "description"]),
        convention=cast(Literal["neurological", "radiological"], study.report.convention),
        **extra,
    )
    write_text(output, build_report(data))


def _distinct(templates: Sequence[Path]) -> list[Path]:
    """Iterations that did not merely repeat the one before."""
    kept = []
    for folder in templates:
        rows = read_json(folder / STATE)["rows"]
        if not rows or not rows[-1]["passed_through"]:
            kept.append(folder)
    return kept
