"""What a study asks for: frozen settings built from ``config.yaml``, refused where they cannot work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from regcore.errors import InputError
from regcore.registration.presets import preset
from regcore.registration.settings import DeformableSettings, RegistrationSettings

_DEFAULT = RegistrationSettings()
_ATLAS_TO_MEMBER = RegistrationSettings(
    linear=(), deformable=DeformableSettings(shrink=(1,), iterations=(15,))
)
TARGETS = ("pairwise", "template", "population", "atlas", "tables", "report")


@dataclass(frozen=True)
class CohortSettings:
    """Where the images are.

    Parameters
    ----------
    source : str
        BIDS folder, or a table with `participant_id` and `image`.
    suffix : str
        Suffix of the images in a BIDS folder; also names the published images.
    entities : dict
        Further entities of the images in a BIDS folder, such as ``{"run": "1"}``.
    labels_from, labels_description, masks_from : str, optional
        Derivative folders with labels and masks of the members, and the ``desc-`` of the labels.
    label_names : str, optional
        Table with `index` and `name`; found beside the labels if it is not given.
    """

    source: str = ""
    suffix: str = "T1w"
    entities: dict[str, str] = field(default_factory=dict)
    labels_from: str | None = None
    labels_description: str | None = None
    masks_from: str | None = None
    label_names: str | None = None


@dataclass(frozen=True)
class PrepareSettings:
    """What happens to every image before it is registered.

    Parameters
    ----------
    n4 : bool
        Whether to correct the intensity bias field (N4, needs SimpleITK).
    winsorise_percent : tuple of 2 float
        Foreground percentiles at which intensities are cut.
    """

    n4: bool = False
    winsorise_percent: tuple[float, float] = (0.5, 99.5)

    def __post_init__(self) -> None:
        """Refuse percentiles in the wrong order."""
        if self.winsorise_percent[0] >= self.winsorise_percent[1]:
            raise InputError(
                f"prepare.winsorise_percent: expected the lower value first, found {self.winsorise_percent}"
            )


@dataclass(frozen=True)
class TemplateStage:
    """Iterations of the template that share one kind of registration.

    Parameters
    ----------
    name : str
        Shown in the tables.
    repeats : int
        Most iterations of this stage; fewer if the template stops moving.
    registration : RegistrationSettings
        Starts from the transforms of the iteration before.
    """

    name: str
    repeats: int
    registration: RegistrationSettings


@dataclass(frozen=True)
class TemplateSettings:
    """How the template is built.

    Parameters
    ----------
    name : str
        Of the template, letters and digits.
    spacing_mm : float, optional
        Voxel size; the mean over the cohort if it is not given.
    sharpen : bool
        Whether the iterations register to a sharpened copy of the average.
    stop_mm : float
        A stage ends early when the shape of the template moves less than this, RMS.
    stages : tuple of TemplateStage
        In order; a template needs at least one.
    """

    name: str = "Study"
    spacing_mm: float | None = None
    sharpen: bool = True
    stop_mm: float = 0.1
    stages: tuple[TemplateStage, ...] = ()

    @property
    def iterations(self) -> tuple[TemplateStage, ...]:
        """Stage of iteration 1, 2, ..."""
        return tuple(stage for stage in self.stages for _ in range(stage.repeats))


@dataclass(frozen=True)
class PopulationSettings:
    """What is published of every member: `interpolation` of the warped image (``linear`` or ``cubic``)."""

    interpolation: str = "linear"


@dataclass(frozen=True)
class AtlasSettings:
    """How labels are carried from atlases to the members.

    Parameters
    ----------
    name : str
        Of the set of atlases, in file names.
    participants : tuple of str
        Members whose labels are atlases.
    table : str, optional
        Further atlases: `atlas_id`, `image`, `labels`.
    label_names : str, optional
        Table with `index` and `name`.
    route : str
        ``direct`` registers every atlas to every subject; ``template`` composes their transforms;
        ``template_library`` registers the atlases to a few members, and these to every subject.
    template_library : int or tuple of str
        The members of the template library, or how many, spread evenly over the cohort.
    start : str
        Where a registration starts: the ``template`` composition, or ``none``.
    fusion : str
        ``majority``, ``local`` (weighted by local similarity), ``staple`` or ``joint``.
    radius_vox : int
        Half width of the patches of ``local`` and ``joint``.
    search_vox : int
        How far these look for the best patch of an atlas.
    alpha, beta : float
        Conditioning and exponent of ``joint``.
    validation : tuple of str
        Fusion methods by which each atlas is labelled by the others, to compare with its own labels; none
        are if it is empty.
    include_atlases : bool
        Whether atlas members are labelled too, by the other atlases.
    registration : RegistrationSettings
        Of an atlas to a subject.
    library_registration : RegistrationSettings
        Of an atlas from the table to the template.
    """

    name: str = "Cohort"
    participants: tuple[str, ...] = ()
    table: str | None = None
    label_names: str | None = None
    route: str = "direct"
    template_library: int | tuple[str, ...] = 5
    start: str = "template"
    fusion: str = "joint"
    radius_vox: int = 1
    search_vox: int = 2
    alpha: float = 0.1
    beta: float = 2.0
    validation: tuple[str, ...] = ("majority", "local", "staple", "joint")
    include_atlases: bool = False
    registration: RegistrationSettings = _ATLAS_TO_MEMBER
    library_registration: RegistrationSettings = _DEFAULT

    @property
    def needs_template(self) -> bool:
        """Whether transforms to the template are used."""
        return self.route == "template" or self.start == "template"

    @property
    def carrying(self) -> AtlasSettings:
        """Settings that carrying an atlas depends on: not the fusion."""
        kept = ("route", "start", "registration")
        return AtlasSettings(**{name: getattr(self, name) for name in kept})

    @property
    def labelling(self) -> AtlasSettings:
        """Settings that the labels of a subject depend on: validation is a matter of its own."""
        return replace(self, validation=())

    @property
    def validated(self) -> tuple[str, ...]:
        """Fusion methods to validate: those asked for, and the one that labels the subjects."""
        asked = self.validation and (*self.validation, self.fusion)
        return tuple(dict.fromkeys(asked))


@dataclass(frozen=True)
class PairwiseSettings:
    """Which images are registered to each other.

    Parameters
    ----------
    pairs : str, optional
        Table with `fixed` and `moving`, participants or files.
    reference : str, optional
        Participant or image file to which every member is registered.
    registration : RegistrationSettings
    """

    pairs: str | None = None
    reference: str | None = None
    registration: RegistrationSettings = _DEFAULT


@dataclass(frozen=True)
class TablesSettings:
    """What the tables hold.

    Parameters
    ----------
    intracranial_labels : tuple of int
        Labels that together are the intracranial volume; all labels if empty.
    surface_distances : bool
        Whether the overlap table has surface distances.
    """

    intracranial_labels: tuple[int, ...] = ()
    surface_distances: bool = True


@dataclass(frozen=True)
class QualitySettings:
    """How registrations are judged, and what an outlier weighs in the template.

    Parameters
    ----------
    rule : str
        ``downweight``, ``exclude`` or ``none`` (see `qc.weights.outlier_weights`).
    threshold : float
        Robust standard deviations from the cohort's median beyond which a member is an outlier.
    measures : tuple of str
        Which measures decide (see `qc.weights.WEIGHING`).
    fewest : int
        Smaller cohorts are not judged: their median says too little.
    overrides : str, optional
        Table of decisions that a person made about members.
    """

    rule: str = "downweight"
    threshold: float = 3.5
    measures: tuple[str, ...] = (
        "similarity_after",
        "mask_dice",
        "folded_voxels",
        "minimum_jacobian",
        "inverse_consistency_mean_vox",
        "affine_log_volume",
        "affine_log_anisotropy",
    )
    fewest: int = 6
    overrides: str | None = None

    @property
    def judging(self) -> QualitySettings:
        """Settings that the rule depends on: not where a person's decisions are."""
        return replace(self, overrides=None)


@dataclass(frozen=True)
class ReportSettings:
    """Title of the report and the side on which its pictures show the subject's left."""

    title: str | None = None
    convention: str = "neurological"


@dataclass(frozen=True)
class Study:
    """Everything a study asks for.

    Parameters
    ----------
    results : str
        Folder of all outputs.
    targets : tuple of str
        What ``all`` makes.
    batch_size : int, optional
        Members a job works on; chosen from the size of the cohort if it is not given.
    threads : int
        Threads of a job.
    strict : bool
        Whether the workflow fails, after everything else, if an image was set aside.

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

    cohort: CohortSettings = CohortSettings()
    results: str = "results"
    targets: tuple[str, ...] = ("template", "population", "tables", "report")
    batch_size: int | None = None
    threads: int = 1
    strict: bool = False
    prepare: PrepareSettings = PrepareSettings()
    template: TemplateSettings = TemplateSettings()
    population: PopulationSettings = PopulationSettings()
    atlas: AtlasSettings = AtlasSettings()
    pairwise: PairwiseSettings = PairwiseSettings()
    tables: TablesSettings = TablesSettings()
    qc: QualitySettings = QualitySettings()
    report: ReportSettings = ReportSettings()

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
                **{name: _section(name, value) for name, value in values.items() if name in _known(cls)}
            )
        except InputError as error:
            raise error if str(error).startswith("config ") else InputError(f"config {error}") from None
        study._check_targets()
        return study

    @property
    def uses_template(self) -> bool:
        """Whether anything asked for needs the template."""
        asked = bool({"template", "population"} & set(self.targets))
        return asked or ("atlas" in self.targets and self.atlas.needs_template)

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
        names = [stage.name for stage in self.template.stages]
        if len(set(names)) < len(names):
            raise InputError(f"config template.stages: expected each name once, found {', '.join(names)}")
        if self.uses_template and not self.template.iterations:
            raise InputError("config template.stages: expected at least one iteration, found none")


def _known(kind: type[Any]) -> list[str]:
    return [item.name for item in fields(kind)]


_SECTIONS: dict[str, type[Any]] = {
    "cohort": CohortSettings,
    "prepare": PrepareSettings,
    "template": TemplateSettings,
    "population": PopulationSettings,
    "atlas": AtlasSettings,
    "pairwise": PairwiseSettings,
    "tables": TablesSettings,
    "qc": QualitySettings,
    "report": ReportSettings,
}


def _section(name: str, value: Any) -> Any:
    """Settings of one top-level key."""
    if name not in _SECTIONS:
        return tuple(value) if isinstance(value, list) else value
    kind = _SECTIONS[name]
    ready = {key: _value(name, key, entry) for key, entry in value.items()}
    return kind(**ready)


def _value(section: str, key: str, value: Any) -> Any:
    if key in ("registration", "library_registration"):
        return registration_settings(f"{section}.{key}", value)
    if key == "stages":
        return tuple(_stage(f"template.stages[{index}]", entry) for index, entry in enumerate(value))
    return tuple(value) if isinstance(value, list) else value


def _stage(key: str, value: Mapping[str, Any]) -> TemplateStage:
    settings = registration_settings(
        key, {"linear": value.get("linear", []), "deformable": value.get("deformable")}
    )
    if not settings.linear and settings.deformable is None:
        raise InputError(f"{key}: expected a linear or a deformable registration, found neither")
    return TemplateStage(str(value["name"]), int(value.get("repeats", 1)), settings)


def registration_settings(key: str, value: str | Mapping[str, Any]) -> RegistrationSettings:
    """Settings from the name of a preset or from a mapping with `linear` and `deformable`.

    Examples
    --------
    >>> registration_settings("atlas.registration", "affine").deformable is None
    True
    """
    try:
        settings = preset(value) if isinstance(value, str) else RegistrationSettings.from_dict(value)
    except InputError as error:
        raise InputError(f"{key}.{error}") from None
    if settings.labels:
        raise InputError(f"{key}.labels: expected false, since a study registers intensities, found true")
    return settings


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
    if not path.exists():
        raise InputError(f"config {key}: expected a file or folder, found nothing at {text}")
    return path
