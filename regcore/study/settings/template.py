"""How the template of a study, or of a subject, is built, and what an outlier weighs in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from regcore.errors import InputError
from regcore.registration.settings import RegistrationSettings


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
        ``first`` of the sessions of each subject that weigh something in its template, or the identifier
        of a session; subjects in whom it is missing, not usable or excluded have no baseline.
    labels_from : str
        Whose own labels are carried to the other sessions of a subject: those of the ``first`` session that
        has any, or the majority of ``all``; never those of a session that weighs nothing.
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
