"""What a study asks for: frozen settings built from ``config.yaml``, refused where they cannot work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from regcore.errors import InputError
from regcore.io.cohort import ROLES
from regcore.io.files import is_file, is_folder
from regcore.io.limits import LARGEST_IMAGE_GB
from regcore.registration.presets import preset
from regcore.registration.settings import DeformableSettings, RegistrationSettings

_DEFAULT = RegistrationSettings()
_ATLAS_TO_MEMBER = RegistrationSettings(
    linear=(), deformable=DeformableSettings(shrink=(1,), iterations=(15,))
)
TARGETS = ("pairwise", "template", "population", "sessions", "atlas", "tables", "statistics", "report")


@dataclass(frozen=True)
class ChannelSettings:
    """How much a further image of each member counts, and by which measure.

    Parameters
    ----------
    weight : float
        Factor of its measure; that of the first image counts 1.
    metric : str, optional
        Measure of this image, in every stage; that of the stage if None.
    """

    weight: float = 1.0
    metric: str | None = None


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
    channels : dict
        Further images of each member, by their suffix or column.
    """

    source: str = ""
    suffix: str = "T1w"
    entities: dict[str, str] = field(default_factory=dict)
    labels_from: str | None = None
    labels_description: str | None = None
    masks_from: str | None = None
    label_names: str | None = None
    channels: dict[str, ChannelSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetSettings:
    """What the results say about themselves, in BIDS's and TemplateFlow's description files.

    Parameters
    ----------
    authors : tuple of str
    license : str, optional
        Of the results; that of the source images if it is not given.
    references : tuple of str
        Papers and links to cite.
    species : str, optional
        Such as ``Homo sapiens``.
    """

    authors: tuple[str, ...] = ()
    license: str | None = None
    references: tuple[str, ...] = ()
    species: str | None = None


@dataclass(frozen=True)
class PrepareSettings:
    """What happens to every image before it is registered.

    Parameters
    ----------
    n4 : bool
        Whether to correct the intensity bias field (N4, needs SimpleITK).
    winsorise_percent : tuple of 2 float
        Foreground percentiles at which intensities are cut.
    brain_only : bool
        Whether everything outside the member's mask is left out, so that no output shows a face.
    """

    n4: bool = False
    brain_only: bool = False
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
    symmetric : bool
        Whether every image counts with its mirror about the template's middle plane.
    frozen : str, optional
        Folder of a published template that members are added to without building anew.
    start : str, optional
        Folder of a published template that a rebuild starts from.
    """

    name: str = "Study"
    spacing_mm: float | None = None
    sharpen: bool = True
    stop_mm: float = 0.1
    stages: tuple[TemplateStage, ...] = ()
    symmetric: bool = False
    frozen: str | None = None
    start: str | None = None

    @property
    def given(self) -> tuple[str, str] | None:
        """Key and folder of a template that is given."""
        found = ((key, getattr(self, key)) for key in ("frozen", "start"))
        return next((each for each in found if each[1] is not None), None)

    @property
    def held(self) -> tuple[str, ...]:
        """Stages that leave a given template as it is: all if it is frozen, else all but the last."""
        names = tuple(stage.name for stage in self.stages if stage.repeats)
        return () if self.given is None else names if self.frozen else names[:-1]

    @property
    def iterations(self) -> tuple[TemplateStage, ...]:
        """Stage of iteration 1, 2, ...; to a template that stays as it is members are registered once."""
        return tuple(
            stage
            for stage in self.stages
            for _ in range(min(stage.repeats, 1) if stage.name in self.held else stage.repeats)
        )


@dataclass(frozen=True)
class SessionsSettings(TemplateSettings):
    """How the sessions of a subject become its own template, and what is followed from session to session.

    The keys of `TemplateSettings` are those of the subject's template; its `name` is that of the subject's
    space in file names.

    Parameters
    ----------
    order_by : str, optional
        Column of the cohort's table (a date, an age) that orders the sessions; their identifiers if None.
    baseline : str
        ``first`` of the usable sessions of each subject, or the identifier of a session; subjects without
        that session have no baseline.
    labels_from : str
        Whose own labels are carried to the other sessions of a subject: those of the ``first`` session that
        has any, or the majority of ``all``.
    accumulate : str, optional
        Column of the cohort's table with a map of each session, such as a dose, to be added up.
    accumulation : str
        ``value``: a point keeps its value, as of a dose; ``amount``: a volume keeps its integral, as of an
        amount per volume.
    histogram_step : float, optional
        Width of a bin of the histograms, in the map's unit; a hundredth of each subject's largest value if
        None.
    """

    name: str = "subject"
    sharpen: bool = False
    stop_mm: float = 0.05
    order_by: str | None = None
    baseline: str = "first"
    labels_from: str = "first"
    accumulate: str | None = None
    accumulation: str = "value"
    histogram_step: float | None = None


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
class MorphometrySettings:
    """Smoothing of the log-Jacobians: width at half maximum, mm; three voxels of the template if None."""

    fwhm_mm: float | None = None


@dataclass(frozen=True)
class DesignSettings:
    """One design of the statistics.

    Parameters
    ----------
    formula : str
        See `regcore.statistics.parse_formula`; its response is one of `RESPONSES`.
    contrasts : dict
        Name to the weights of the design's columns; every column but the intercept if empty.
    reference : dict
        Covariate to the level that its other levels are compared with.
    random : str, optional
        Covariate, or `participant_id`, whose values share a random intercept: mixed models of structures.
    """

    formula: str
    contrasts: dict[str, dict[str, float]] = field(default_factory=dict)
    reference: dict[str, str] = field(default_factory=dict)
    random: str | None = None


@dataclass(frozen=True)
class StatisticsSettings:
    """What is tested.

    Parameters
    ----------
    mask : str
        Voxels that are tested: ``foreground`` of the template, or those with one of its ``labels``.
    permutations : int
        Of every contrast; 0 leaves the corrected p-values out.
    clusters : bool
        Whether clusters are enhanced without a threshold (TFCE), too.
    seed : int
        Of the permutations.
    designs : dict
        Name to `DesignSettings`.
    """

    mask: str = "foreground"
    permutations: int = 1000
    clusters: bool = True
    seed: int = 0
    designs: dict[str, DesignSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class StrataSettings:
    """Conditional templates: averages over members that are alike in a covariate.

    Parameters
    ----------
    by : str, optional
        Covariate; no strata if it is not given.
    bins : tuple of float
        Edges; every bin holds its lower edge, the last one both. Without bins and `at`, every value of the
        covariate is a stratum.
    at : tuple of float
        Values at which a Gaussian kernel weighs the members.
    bandwidth : float, optional
        Standard deviation of the kernel, in the unit of the covariate; Silverman's rule if not given.
    """

    by: str | None = None
    bins: tuple[float, ...] = ()
    at: tuple[float, ...] = ()
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        """Refuse edges out of order."""
        if len(self.bins) == 1 or list(self.bins) != sorted(set(self.bins)):
            found = ", ".join(f"{edge:g}" for edge in self.bins)
            raise InputError(f"strata.bins: expected two or more rising edges, found {found}")


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
class PrivacySettings:
    """What hides who takes part: `pseudonym_secret`, the file that pseudonyms are made with."""

    pseudonym_secret: str | None = None


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

    cohort: CohortSettings = CohortSettings()
    dataset: DatasetSettings = DatasetSettings()
    results: str = "results"
    targets: tuple[str, ...] = ("template", "population", "tables", "report")
    batch_size: int | None = None
    threads: int = 1
    strict: bool = False
    largest_image_gb: float = LARGEST_IMAGE_GB
    privacy: PrivacySettings = PrivacySettings()
    prepare: PrepareSettings = PrepareSettings()
    template: TemplateSettings = TemplateSettings()
    sessions: SessionsSettings = SessionsSettings()
    population: PopulationSettings = PopulationSettings()
    atlas: AtlasSettings = AtlasSettings()
    pairwise: PairwiseSettings = PairwiseSettings()
    strata: StrataSettings = StrataSettings()
    tables: TablesSettings = TablesSettings()
    morphometry: MorphometrySettings = MorphometrySettings()
    statistics: StatisticsSettings = StatisticsSettings()
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


_SECTIONS: dict[str, type[Any]] = {
    "cohort": CohortSettings,
    "privacy": PrivacySettings,
    "dataset": DatasetSettings,
    "prepare": PrepareSettings,
    "template": TemplateSettings,
    "sessions": SessionsSettings,
    "population": PopulationSettings,
    "atlas": AtlasSettings,
    "pairwise": PairwiseSettings,
    "strata": StrataSettings,
    "tables": TablesSettings,
    "morphometry": MorphometrySettings,
    "statistics": StatisticsSettings,
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
    if key == "channels":
        return {name: ChannelSettings(**(entry or {})) for name, entry in value.items()}
    if key == "stages":
        return tuple(_stage(f"{section}.stages[{index}]", entry) for index, entry in enumerate(value))
    if key == "designs":
        return {name: DesignSettings(**entry) for name, entry in value.items()}
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
    if not (is_file(path) or is_folder(path)):
        raise InputError(f"config {key}: expected a file or folder, found nothing at {text}")
    return path
