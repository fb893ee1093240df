"""What the report of a study shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from regcore.image import Image
from regcore.qc.outliers import THRESHOLD
from regcore.qc.planes import Convention
from regcore.qc.section import Section


@dataclass(frozen=True)
class Methods:
    """What a paper says about a study.

    Parameters
    ----------
    text : str
        Plain text, an empty line between paragraphs; ``[1]`` points at the first reference.
    references : sequence of (str, str)
        Reference and its DOI.
    """

    text: str
    references: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything the report shows; what is left out is left out of the report.

    Parameters
    ----------
    title : str
    versions : mapping
        Name of a program or library to its version.
    settings : mapping
        Summary of the configuration: key to value, nested mappings allowed.
    cohort : DataFrame, optional
        A row a member: `participant_id`, optional `session_id`, covariates.
    quarantine : DataFrame, optional
        `participant_id`, `session_id`, `image`, `stage`, `reason`; a row an image set aside.
    templates : sequence of (str, Image)
        Label and template of every iteration, the published one last.
    template_mask : Image, optional
        On the grid of the last template.
    convergence : DataFrame, optional
        A row an iteration, as `groupwise.convergence` makes it.
    convergence_threshold_mm : float, optional
        Shape update at which the iterations stop.
    certificate : mapping, optional
        As `groupwise.convergence.bias_certificate` makes it.
    members : sequence of (str, bytes)
        Key and sheet (`slices.slice_sheet`) of every member.
    qc : DataFrame, optional
        A row a member: what it weighs in the template and why, its score and measures (see `weights`).
    threshold : float
        Score beyond which a member is an outlier.
    overrides : sequence of dict
        Decisions that were made before: `keys` of the members, `action`, `preset`, `reason`, `who`, `when`.
    presets : sequence of str
        Settings that a member can be tried again with.
    methods : Methods, optional
        Paragraph for a paper.
    sections : sequence of Section
        What other rooms add, shown before the outliers.
    variance : Image, optional
        Variance of the intensities over members, on the grid of the last template.
    volumes, jacobians, overlap, registrations, consistency : DataFrame, optional
        The tables of the study.
    validation : DataFrame, optional
        A row an atlas, fusion method and structure: how well the other atlases label it.
    fusion : str, optional
        Method among those in `validation` that labels the members.
    runtime : DataFrame, optional
        A row a job: `rule`, `seconds`, optional `memory_mb`, `cpu_seconds`, and both as `expected_` before.
    disk_gb : tuple of float, optional
        Disk space of the results, and what was expected, GB.
    outputs : DataFrame, optional
        `path`, `description`.
    convention : {"neurological", "radiological"}
        Of all pictures, `members` included.
    """

    title: str
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    cohort: pd.DataFrame | None = None
    quarantine: pd.DataFrame | None = None
    templates: Sequence[tuple[str, Image]] = ()
    template_mask: Image | None = None
    convergence: pd.DataFrame | None = None
    convergence_threshold_mm: float | None = None
    certificate: Mapping[str, object] | None = None
    members: Sequence[tuple[str, bytes]] = ()
    variance: Image | None = None
    volumes: pd.DataFrame | None = None
    jacobians: pd.DataFrame | None = None
    overlap: pd.DataFrame | None = None
    validation: pd.DataFrame | None = None
    fusion: str | None = None
    registrations: pd.DataFrame | None = None
    consistency: pd.DataFrame | None = None
    qc: pd.DataFrame | None = None
    threshold: float = THRESHOLD
    overrides: Sequence[Mapping[str, object]] = ()
    presets: Sequence[str] = ()
    methods: Methods | None = None
    sections: Sequence[Section] = ()
    runtime: pd.DataFrame | None = None
    disk_gb: tuple[float, float] | None = None
    outputs: pd.DataFrame | None = None
    convention: Convention = "neurological"
