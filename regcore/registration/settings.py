"""Settings of a registration: frozen values that refuse what cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from regcore.errors import InputError

LINEAR_MODELS = ("translation", "rigid", "similarity", "affine")
METRICS = ("ssd", "sad", "ncc", "lncc", "mi", "nmi", "ecc", "mind")
WINDOWED = ("lncc", "mind")
"""Measures that look at the neighbours of a voxel."""
NATIVE = 1.1
"""A level less coarse than this many of the image's voxels is the image itself."""
INITIALISATIONS = ("center_of_mass", "moments", "identity")
ROTATION_SEARCHES = ("local", "full")
OUTSIDES = ("background", "ignored")
DEFORMABLE_MODELS = ("greedy", "displacement", "velocity", "symmetric")
REGULARISERS = ("diffusion", "bending", "elastic", "total_variation")


def _one_of(key: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{key}: expected one of {', '.join(allowed)}, found {value!r}")


def _number(key: str, value: object, least: float, most: float, *, whole: bool = False) -> None:
    wanted = f"{'a whole number' if whole else 'a number'} from {least:g} to {most:g}"
    good = isinstance(value, int) if whole else isinstance(value, int | float)
    if not good or isinstance(value, bool) or not least <= float(value) <= most:  # type: ignore[arg-type]
        raise InputError(f"{key}: expected {wanted}, found {value!r}")


def _levels(
    key: str, shrink: tuple[float, ...], iterations: tuple[int, ...], spacing_mm: tuple[float, ...] = ()
) -> None:
    name, sizes = ("spacing_mm", spacing_mm) if spacing_mm else ("shrink", shrink)
    if not sizes or len(sizes) != len(iterations):
        raise InputError(
            f"{key}.iterations: expected as many levels as {name} ({len(sizes)}), found {len(iterations)}"
        )
    for size in sizes:
        _number(f"{key}.{name}", size, 1e-6 if spacing_mm else 1, 64)
    for count in iterations:
        _number(f"{key}.iterations", count, 0, 10000, whole=True)


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """What similarity measures need to know; each reads only what concerns it.

    The measures, `metric` of a linear and of the deformable stage, are: ``ssd`` and ``sad``, squared and
    absolute differences; ``ncc`` and ``lncc``, correlation of the images and within windows; ``mi``, ``nmi``
    and ``ecc``, mutual information as it is, normalised, and as entropy correlation coefficient; ``mind``,
    differences of the MIND-SSC descriptor. ``mi``, ``nmi``, ``ecc`` and ``mind`` compare modalities.

    Parameters
    ----------
    radius : int
        Of lncc: half width of the window, voxels of the level.
    bins : int
        Of mi, nmi and ecc: bins of the histogram for either image.
    epsilon : float
        Of sad: smaller differences count as their square; intensities range from 0 to about 1.
    patch_sigma_vox : float
        Of mind: standard deviation of the Gaussian that weighs a patch, voxels of the level.
    dilation : int
        Of mind: distance of the patches from the voxel they describe, voxels of the level.
    """

    radius: int = 2
    bins: int = 32
    epsilon: float = 0.01
    patch_sigma_vox: float = 0.8
    dilation: int = 1

    def _check_metric(self, key: str, metric: str) -> None:
        _one_of(f"{key}.metric", metric, METRICS)
        _number(f"{key}.radius", self.radius, 1, 16, whole=True)
        _number(f"{key}.bins", self.bins, 8, 256, whole=True)
        _number(f"{key}.epsilon", self.epsilon, 1e-4, 1)
        _number(f"{key}.patch_sigma_vox", self.patch_sigma_vox, 0, 8)
        _number(f"{key}.dilation", self.dilation, 1, 16, whole=True)


@dataclass(frozen=True)
class LinearSettings(MetricSettings):
    """One linear stage.

    Parameters
    ----------
    model : {"translation", "rigid", "similarity", "affine"}
    metric : {"ssd", "sad", "ncc", "lncc", "mi", "nmi", "ecc", "mind"}
    shrink : tuple of float
        Voxel size of each level as a multiple of the finest voxel size of the fixed image.
    iterations : tuple of int
        Most iterations at each level.
    initialisation : {"center_of_mass", "moments", "identity"}
        Where to start; not used where the registration is given an initial transform.
    rotations_deg : float
        Starting rotations of this size about each axis are tried too at the coarsest level; 0 for none.
    rotation_search : {"local", "full"}
        Which rotations the first stage starts from: those of `rotations_deg`, or ``full``: all there are,
        evenly spread, for images of which nobody knows how they lie.
    scale_limit : float
        An answer that scales any direction by more than this factor, or by less than its inverse, since the
        start of the registration is implausible: it is tried again from elsewhere (see `register`).
    shear_limit : float
        The same for its shears (tangents of angles).
    sampling_step : int
        Every so-manieth voxel along each axis of a level is looked at; 1: all. With lncc and mind, which look
        at neighbours, 1.
    radius, bins, epsilon, patch_sigma_vox, dilation
        See `MetricSettings`.
    """

    model: str = "affine"
    metric: str = "mi"
    shrink: tuple[float, ...] = (4.0, 2.0)
    iterations: tuple[int, ...] = (60, 30)
    initialisation: str = "center_of_mass"
    rotations_deg: float = 15.0
    rotation_search: str = "local"
    scale_limit: float = 1.7
    shear_limit: float = 0.5
    sampling_step: int = 1

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _one_of("linear.model", self.model, LINEAR_MODELS)
        self._check_metric("linear", self.metric)
        _one_of("linear.initialisation", self.initialisation, INITIALISATIONS)
        _levels("linear", self.shrink, self.iterations)
        _number("linear.rotations_deg", self.rotations_deg, 0, 180)
        _one_of("linear.rotation_search", self.rotation_search, ROTATION_SEARCHES)
        _number("linear.scale_limit", self.scale_limit, 1, 100)
        _number("linear.shear_limit", self.shear_limit, 0, 100)
        largest = 1 if self.metric in WINDOWED else 8
        _number("linear.sampling_step", self.sampling_step, 1, largest, whole=True)


@dataclass(frozen=True)
class DeformableSettings(MetricSettings):
    """The deformable stage.

    Parameters
    ----------
    metric : {"ssd", "sad", "ncc", "lncc", "mi", "nmi", "ecc", "mind"}
    shrink : tuple of float
        Voxel size of each level as a multiple of the finest voxel size of the fixed image.
    iterations : tuple of int
        Most iterations at each level.
    spacing_mm : tuple of float
        Voxel size of each level in mm, coarsest first, instead of `shrink`: one setting for images of any
        resolution. The first level that is finer than the image is the image's own, and the last.
    update_sigma_vox : float
        Gaussian on every update (a fluid prior), voxels of the level.
    field_sigma_vox : float
        Gaussian on the displacement after every update (an elastic prior of ``greedy``, which alone has
        it), voxels of the level.
    model : {"greedy", "displacement", "velocity", "symmetric"}
        ``greedy`` composes smoothed gradient steps, and nothing but them keeps the map smooth. The others
        minimise ``D + regularisation_weight * R`` and never let it rise: D is the metric, R the regulariser
        of a displacement, of a stationary velocity, or of one that moves both images to the middle.
    regulariser : {"diffusion", "bending", "elastic", "total_variation"}
        What R measures (see `regcore.regularisers`); ``greedy`` has no R and takes none but the first.
    regularisation_weight : float, optional
        How much R counts, for ``bending`` in mm2; None takes the regulariser's own (for lncc 0.4 for
        diffusion, 0.3 for elastic, 0.2 for total variation, twice the squared voxel size for bending; for
        other measures as much less or more as their range is). ``greedy`` has no R and refuses a weight.
    lame_mu, lame_lambda : float
        Lame parameters of the regulariser ``elastic``: resistance to shear, and to change of volume.
    step_vox : float
        Longest displacement of an update, voxels of the level.
    tolerance : float
        A level ends when the energy falls by less than this share over ten iterations.
    radius, bins, epsilon, patch_sigma_vox, dilation
        See `MetricSettings`.
    """

    metric: str = "lncc"
    shrink: tuple[float, ...] = (4.0, 2.0, 1.0)
    iterations: tuple[int, ...] = (100, 50, 20)
    spacing_mm: tuple[float, ...] = ()
    update_sigma_vox: float = 1.4
    field_sigma_vox: float = 0.4
    model: str = "greedy"
    regulariser: str = "diffusion"
    regularisation_weight: float | None = None
    lame_mu: float = 1.0
    lame_lambda: float = 0.0
    step_vox: float = 0.5
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        self._check_metric("deformable", self.metric)
        _levels("deformable", self.shrink, self.iterations, self.spacing_mm)
        if list(self.spacing_mm) != sorted(self.spacing_mm, reverse=True):
            raise InputError(f"deformable.spacing_mm: expected coarsest first, found {self.spacing_mm}")
        _number("deformable.update_sigma_vox", self.update_sigma_vox, 0, 32)
        _number("deformable.field_sigma_vox", self.field_sigma_vox, 0, 32)
        self._check_model()
        _number("deformable.step_vox", self.step_vox, 0.01, 1)
        _number("deformable.tolerance", self.tolerance, 0, 1)

    @property
    def stationary(self) -> bool:
        """Whether the model finds a stationary velocity instead of a displacement."""
        return self.model in ("velocity", "symmetric")

    def _check_model(self) -> None:
        _one_of("deformable.model", self.model, DEFORMABLE_MODELS)
        _one_of("deformable.regulariser", self.regulariser, REGULARISERS)
        _number("deformable.lame_mu", self.lame_mu, 1e-6, 1e6)
        _number("deformable.lame_lambda", self.lame_lambda, -1e6, 1e6)
        if 3 * self.lame_lambda + 2 * self.lame_mu <= 0:
            wanted = f"more than {-2 / 3 * self.lame_mu:g}, so that a change of volume costs energy"
            raise InputError(f"deformable.lame_lambda: expected {wanted}, found {self.lame_lambda!r}")
        if self.regularisation_weight is not None:
            _number("deformable.regularisation_weight", self.regularisation_weight, 0, 1e6)
        # a key that does nothing would be taken for one that does
        for key, nothing in (("regulariser", "diffusion"), ("regularisation_weight", None)):
            found = getattr(self, key)
            if self.model == "greedy" and found != nothing:
                wanted = f"{nothing or 'null'} for the model greedy, which has no regulariser"
                raise InputError(f"deformable.{key}: expected {wanted}, found {found!r}")

    def levels(self, finest_mm: float) -> list[tuple[float, int]]:
        """Shrink factor and iterations of each level for images whose finest voxel size is given.

        Examples
        --------
        >>> settings = DeformableSettings(spacing_mm=(8, 4, 2, 1), iterations=(90, 60, 30, 10))
        >>> settings.levels(1.5)
        [(5.333333333333333, 90), (2.6666666666666665, 60), (1.3333333333333333, 30), (1.0, 10)]
        >>> settings.levels(2.0)
        [(4.0, 90), (2.0, 60), (1.0, 30)]
        """
        if not self.spacing_mm:
            return list(zip(self.shrink, self.iterations, strict=True))
        found: list[tuple[float, int]] = []
        for spacing, count in zip(self.spacing_mm, self.iterations, strict=True):
            # a level hardly coarser than the image would be that image, only blurred
            factor = spacing / finest_mm
            found.append((factor if factor > NATIVE else 1.0, count))
            if factor <= NATIVE:
                break
        return found


def _from_dict(kind: type[Any], key: str, values: Mapping[str, Any]) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"{key}: expected a mapping of settings, found {values!r}")
    known = [field.name for field in fields(kind)]
    for name in values:
        if name not in known:
            raise InputError(f"{key}.{name}: expected one of {', '.join(known)}, found an unknown key")
    ready = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return kind(**ready)


@dataclass(frozen=True)
class RegistrationSettings:
    """Linear stages in order, then the deformable stage if there is one.

    Parameters
    ----------
    linear : tuple of LinearSettings
    deformable : DeformableSettings or None
    match_histograms : bool
        Whether the moving image first takes the distribution of intensities of the fixed one, within the
        masks or, without, the foreground: for one modality from two scanners.
    labels : bool
        Whether the images are label maps, to be registered label by label, and not intensities.
    outside : {"background", "ignored"}
        What lies beyond the moving image: background, as around a head in air, or nothing that is known, so
        that it does not count, as around a crop. Windows of lncc and patches of mind about the last
        voxels inside still reach beyond, where they read zeros. A moving mask that leaves out a margin of
        as many voxels as they reach keeps those zeros out: of a cut image, mind then errs by 0.13 to 0.17
        instead of 0.29 to 0.44 mm next to the cut. With lncc the zeros made hardly a difference.

    Examples
    --------
    >>> settings = RegistrationSettings.from_dict({"linear": [{"model": "rigid"}], "deformable": None})
    >>> settings.linear[0].model
    'rigid'
    """

    linear: tuple[LinearSettings, ...] = (LinearSettings(model="rigid"), LinearSettings(model="affine"))
    deformable: DeformableSettings | None = DeformableSettings()
    match_histograms: bool = False
    labels: bool = False
    outside: str = "background"

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        for key in ("match_histograms", "labels"):
            if not isinstance(getattr(self, key), bool):
                raise InputError(f"{key}: expected true or false, found {getattr(self, key)!r}")
        _one_of("outside", self.outside, OUTSIDES)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RegistrationSettings:
        """Build from plain values, refusing unknown keys with an `InputError` that names the key."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(f"{name}: expected one of {', '.join(known)}, found an unknown key")
        ready = dict(values)
        if "linear" in ready:
            stages = ready["linear"] or []
            if not isinstance(stages, list | tuple):
                raise InputError(f"linear: expected a list of stages, found {stages!r}")
            ready["linear"] = tuple(_from_dict(LinearSettings, "linear", stage) for stage in stages)
        if ready.get("deformable") is not None:
            ready["deformable"] = _from_dict(DeformableSettings, "deformable", ready["deformable"])
        return cls(**ready)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `from_dict` reads back."""
        return asdict(self)
