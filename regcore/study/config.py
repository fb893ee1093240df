"""What a study asks for: built from ``config.yaml``, refused where it cannot work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from regcore.errors import InputError
from regcore.io.cohort import ROLES
from regcore.io.files import is_file, is_folder
from regcore.io.limits import LARGEST_IMAGE_GB
from regcore.study.settings import (
    AtlasSettings,
    CohortSettings,
    DatasetSettings,
    MorphometrySettings,
    PairwiseSettings,
    PopulationSettings,
    PrepareSettings,
    PrivacySettings,
    QualitySettings,
    ReportSettings,
    SessionsSettings,
    StatisticsSettings,
    StrataSettings,
    TablesSettings,
    TemplateSettings,
    read_section,
)

MOST_ITERATIONS = 99
"""Of a template: names of folders have two digits for them."""


@dataclass(frozen=True)
class Study:
    """Everything a study asks for.

    Parameters
    ----------
    results : str
        Folder of all outputs.
    upload_to : str, optional
        Address of a folder in an object store that everything but the working folder is copied to in the end.
    targets : tuple of str
        What ``all`` makes.
    batch_size : int, optional
        Members a job works on; chosen from the size of the cohort if it is not given.
    threads : int
        Threads of a job.
    strict : bool
        Whether the workflow fails, after everything else, if an image was set aside.
    largest_image_gb : float
        Images and transforms with more GiB of voxels are refused.

    Examples
    --------
    >>> study = Study.from_dict({"cohort": {"source": "cohort.tsv"}, "targets": ["tables"]})
    >>> study.template.stop_mm, study.threads
    (0.1, 1)
    >>> Study.from_dict({"cohort": {"source": "cohort.tsv"}, "threads": 0})
    Traceback (most recent call last):
        ...
    regcore.errors.InputError: config threads: expected at least 1, found 0
    """

    cohort: CohortSettings = field(default_factory=CohortSettings)
    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    results: str = "results"
    upload_to: str | None = None
    targets: tuple[str, ...] = ("template", "population", "tables", "report")
    batch_size: int | None = None
    threads: int = 1
    strict: bool = False
    largest_image_gb: float = LARGEST_IMAGE_GB
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    template: TemplateSettings = field(default_factory=TemplateSettings)
    sessions: SessionsSettings = field(default_factory=SessionsSettings)
    population: PopulationSettings = field(default_factory=PopulationSettings)
    atlas: AtlasSettings = field(default_factory=AtlasSettings)
    pairwise: PairwiseSettings = field(default_factory=PairwiseSettings)
    strata: StrataSettings = field(default_factory=StrataSettings)
    tables: TablesSettings = field(default_factory=TablesSettings)
    morphometry: MorphometrySettings = field(default_factory=MorphometrySettings)
    statistics: StatisticsSettings = field(default_factory=StatisticsSettings)
    qc: QualitySettings = field(default_factory=QualitySettings)
    report: ReportSettings = field(default_factory=ReportSettings)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """Build from the content of a configuration file.

        Raises
        ------
        InputError
            For the first key that is unknown, misspelt, of the wrong kind or impossible.
        """
        from regcore.study.schema import check_schema

        check_schema(
            values, json.loads((resources.files("regcore.study") / "config.schema.json").read_text())
        )
        try:
            study = cls(
                **{name: read_section(name, value) for name, value in values.items() if name in _known(cls)}
            )
        except InputError as error:
            raise error if str(error).startswith("config ") else InputError(f"config {error}") from None
        study._check_targets()
        return study

    @property
    def uses_template(self) -> bool:
        """Whether anything asked for needs the template."""
        asked = bool({"template", "population", "statistics"} & set(self.targets))
        return asked or ("atlas" in self.targets and self.atlas.needs_template)

    @property
    def uses_sessions(self) -> bool:
        """Whether the sessions of a subject become one member of the cohort."""
        return "sessions" in self.targets

    def _check_targets(self) -> None:
        if "atlas" in self.targets and not (self.atlas.participants or self.atlas.table):
            raise InputError(
                "config atlas.participants: expected participants or a table of atlases for this target, "
                "found neither"
            )
        if "pairwise" in self.targets and not (self.pairwise.pairs or self.pairwise.reference):
            raise InputError(
                "config pairwise.reference: expected a reference or a table of pairs for this target, "
                "found neither"
            )
        if "statistics" in self.targets and not self.statistics.designs:
            raise InputError("config statistics.designs: expected a design for this target, found none")
        self._check_given()
        taken = {self.cohort.suffix, *ROLES} & set(self.cohort.channels)
        if taken:
            raise InputError(
                f"config cohort.channels: expected other names than {self.cohort.suffix} and "
                f"{', '.join(ROLES)}, found {sorted(taken)[0]}"
            )
        for section, settings, used in (
            ("template", self.template, self.uses_template),
            ("sessions", self.sessions, self.uses_sessions),
        ):
            names = [stage.name for stage in settings.stages]
            if len(set(names)) < len(names):
                raise InputError(
                    f"config {section}.stages: expected each name once, found {', '.join(names)}"
                )
            if used and not settings.iterations:
                raise InputError(f"config {section}.stages: expected at least one iteration, found none")
            if len(settings.iterations) > MOST_ITERATIONS:
                raise InputError(
                    f"config {section}.stages: expected at most {MOST_ITERATIONS} iterations, "
                    f"found {len(settings.iterations)}"
                )
        if self.uses_sessions and self.sessions.name == self.template.name:
            raise InputError(
                f"config sessions.name: expected another name than the template's, found {self.sessions.name}"
            )

    def _check_given(self) -> None:
        template = self.template
        if template.frozen and template.start:
            raise InputError("config template.start: expected null beside template.frozen, found both")
        if template.frozen and template.symmetric:
            raise InputError(
                "config template.symmetric: expected false beside template.frozen, which stays as it is, "
                "found true"
            )
        if template.given is None:
            return
        key, folder = template.given
        name = Path(folder).name.removeprefix("tpl-")
        if template.spacing_mm is not None:
            raise InputError(
                f"config template.spacing_mm: expected null, since template.{key} gives the voxels, "
                f"found {template.spacing_mm:g}"
            )
        if template.frozen and template.name != name:
            raise InputError(
                f"config template.name: expected {name}, the name of the frozen template, "
                f"found {template.name}"
            )
        if Path(folder).resolve().parent == Path(self.results).resolve():
            raise InputError(
                f"config template.{key}: expected a folder outside results, where a template is "
                f"written, found {folder}"
            )


def _known(kind: type[Any]) -> list[str]:
    return [item.name for item in fields(kind)]


def find_participants(wanted: Sequence[str], known: Sequence[str], key: str) -> list[str]:
    """The member keys that names in a configuration stand for; ``sub-`` may be left out.

    Examples
    --------
    >>> find_participants(["01"], ["sub-01", "sub-02"], "atlas.participants")
    ['sub-01']
    """
    found = []
    for name in wanted:
        full = name if name.startswith("sub-") else f"sub-{name}"
        matches = [key for key in known if key == full or key.startswith(f"{full}_ses-")]
        if not matches:
            raise InputError(f"config {key}: expected a participant of the cohort, found {name!r}")
        found += [match for match in matches if match not in found]
    return found


def existing_path(text: str, key: str) -> Path:
    """The path that a configuration names, refused if nothing is there."""
    path = Path(text)
    if not (is_file(path) or is_folder(path)):
        raise InputError(f"config {key}: expected a file or folder, found nothing at {text}")
    return path
