"""What the results hold: tables, statistics, the report, and what they say about themselves."""

from __future__ import annotations

from dataclasses import dataclass, field


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
class ReportSettings:
    """Title of the report and the side on which its pictures show the subject's left."""

    title: str | None = None
    convention: str = "neurological"
