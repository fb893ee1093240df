"""What makes the results a BIDS derivative dataset, and their template one that TemplateFlow reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regcore import __version__
from regcore.image import Image
from regcore.io.tables import write_json, write_text
from regcore.study.settings import DatasetSettings
from regcore.study.stratify import Stratum

BIDS_VERSION = "1.11.0"
IGNORED = {
    "/work": "intermediate results: no part of the dataset",
    "/tables": "tables over the cohort: BIDS has no place for them",
    "/statistics": "models of voxels and structures: BIDS has no place for them",
    "/report.html": "the report",
    "/qc.*": "what every member weighs in the template: BIDS has no place for it",
    "/quarantine.*": "images that were set aside",
    "**/*_xfm.*": "transforms: the specification has no name for them yet",
    "**/*_logjac.*": "log-Jacobian maps: BIDS has no suffix for them",
    "**/*_desc-sum_*": "maps added up over sessions, such as doses: BIDS has no suffix for them",
    "**/*_dseg.label": "label descriptions of ITK-SNAP, beside those of BIDS",
    "**/*_certificate.json": "how far a template is from the mean of its cohort",
    "**/template_description.json": "TemplateFlow's file, not one of BIDS",
}
"""Patterns that the BIDS validator passes over, with the reason."""

README = """\
# {name}

Groupwise registration by regcore {version}. Open `report.html` first; `tables/` holds every number, each
table with a data dictionary, and `qc.tsv` what every member weighs in the template. `sub-*/` holds the
members in the space of the template, their transforms and labels; `tpl-*/` the template, in a folder that
TemplateFlow's client reads. `.bidsignore` lists what BIDS has no name for. `work/` is for resuming and may be
deleted.
"""


def describe_dataset(
    files: Mapping[str, Path], source: str, name: str, atlas: str | None, settings: DatasetSettings
) -> None:
    """Write what makes a folder a BIDS derivative dataset.

    Parameters
    ----------
    files : mapping
        Output files: `description`, `readme`, `ignore` and, where labels come from atlases, `atlas`.
    source : str
        Where the images came from.
    name : str
        Of the template.
    atlas : str or None
        Name of the set of atlases.
    settings : DatasetSettings
    """
    lines = [line for pattern, reason in IGNORED.items() for line in (f"# {reason}", pattern)]
    write_text(files["ignore"], "\n".join(lines) + "\n")
    write_text(files["readme"], README.format(name=f"Study {name}", version=__version__))
    if atlas is not None:
        write_json(
            files["atlas"],
            {
                "Name": f"Atlases {atlas}: images with labels that were carried to the members",
                "License": settings.license or "See the license of the labels",
                "Authors": settings.authors,
            },
        )
    write_json(
        files["description"],
        {
            "Name": f"Groupwise registration, template {name}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": settings.license or "See the license of the source images",
            "Authors": settings.authors,
            "ReferencesAndLinks": settings.references,
            "GeneratedBy": [{"Name": "regcore", "Version": __version__}],
            "SourceDatasets": [{"URL": source}],
        },
    )


def template_description(
    name: str,
    members: int,
    template: Image,
    settings: DatasetSettings,
    strata: Sequence[Stratum] = (),
) -> dict[str, Any]:
    """Content of ``template_description.json`` as TemplateFlow wants it.

    Parameters
    ----------
    name : str
        Of the template.
    members : int
        How many were averaged.
    template : Image
    settings : DatasetSettings
    strata : sequence of Stratum
        Conditional templates, which TemplateFlow calls cohorts.

    Returns
    -------
    dict
    """
    description = {
        "Identifier": name,
        "Name": f"Template {name}: average of {members} members",
        "BIDSVersion": BIDS_VERSION,
        "TemplateFlowVersion": "1.0.0",
        "Authors": settings.authors,
        "License": settings.license or "See the license of the source images",
        "ReferencesAndLinks": settings.references,
        "res": {
            "01": {
                "origin": template.grid.affine[:3, 3],
                "shape": list(template.grid.shape),
                "zooms": template.grid.spacing,
            }
        },
    }
    if settings.species is not None:
        description["Species"] = settings.species
    return description | cohorts(strata)


def cohorts(strata: Sequence[Stratum]) -> dict[str, Any]:
    """What ``template_description.json`` says about conditional templates; nothing where there are none."""
    about = {str(stratum.number): {"name": stratum.name, **stratum.about} for stratum in strata}
    return {"cohort": about} if about else {}
