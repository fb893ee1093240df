"""What a job takes: constants that were measured, and how they grow with the images and what is done to them.

Measured on one thread of an AMD EPYC, 24 heads of 1.3 million voxels, 2026-11-22; `docs/performance.md` says
how near they come. Memory is what jobs took and a sixth more, so that a job fits into what it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from regcore.registration.settings import RegistrationSettings


@dataclass(frozen=True)
class Cost:
    """What a job is expected to take.

    Parameters
    ----------
    seconds : float
        Of one processor.
    memory_mb : float
        Largest resident memory, MB.
    """

    seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Rate:
    """How the cost of the jobs of a rule grows.

    Parameters
    ----------
    megabytes : float
        Of a job on images of no size.
    bytes_per_voxel : float
        Of one image; images come one after the other.
    seconds : float
        Of a job that works on no image.
    microseconds_per_voxel : float
        Of each image that the job works on.
    seconds_per_image : float
        Of an image of no size.
    """

    megabytes: float = 250
    bytes_per_voxel: float = 0
    seconds: float = 1.7
    microseconds_per_voxel: float = 0
    seconds_per_image: float = 0

    def cost(self, voxels: float, images: float = 1, more_microseconds: float = 0) -> Cost:
        """Cost of a job on so many images of so many voxels, with so much more to do at each voxel.

        Examples
        --------
        >>> Rate(200, 100, 2, 0.5).cost(2e6, images=3)
        Cost(seconds=5.0, memory_mb=400.0)
        """
        million = voxels / 1e6
        each = million * (self.microseconds_per_voxel + more_microseconds) + self.seconds_per_image
        return Cost(self.seconds + images * each, self.megabytes + self.bytes_per_voxel * million)


SMALL = Rate()
RATES = {
    "warm_cache": Rate(620, 0, 100),
    "template_grid": Rate(205, 0, 1.6),
    "prepare_batch": Rate(185, 65, 1.1, 0.55),
    "centre_batch": Rate(250, 92, 1.5, 0.3),
    "register_linear": Rate(300, 108, 1.5, 0.55, 0.1),
    "register_deformable": Rate(340, 230, 1.5, 1.05, 0.1),
    "gather_first": Rate(310, 45, 1.5, 0.5),
    "gather_linear": Rate(300, 118, 1.5, 1.0),
    "gather_template": Rate(290, 165, 1.5, 1.1),
    "population_batch": Rate(300, 235, 2.0, 1.15),
    "measure_batch": Rate(280, 80, 2.5, 0.65),
    "morphometry_batch": Rate(210, 40, 1.5, 0.15),
    "publish_template": Rate(200, 170, 1.8, 0.4),
    "measure_influence": Rate(210, 240, 1.8, 0.2),
    "stratum_template": Rate(210, 260, 1.8, 0.25),
    "template_labels": Rate(200, 60, 1.5, 0.03),
    "atlas_batch": Rate(300, 160, 1.6, 0.6),
    "validate_atlas": Rate(300, 200, 1.6, 1.2),
    "atlas_priors": Rate(270, 90, 1.6, 0.45),
    "pairwise_batch": Rate(300, 280, 2.0, 2.0),
    "make_report": Rate(480, 60, 10.0),
    "statistics_design": Rate(450, 150, 10.0),
}
"""By rule; registrations of the template's linear and deformable stages apart."""

# nanoseconds a voxel and iteration of a level, one processor
ITERATION_NS = {"ssd": 55, "sad": 50, "ncc": 55, "lncc": 60, "mi": 78, "nmi": 75, "ecc": 75, "mind": 195}
LINEAR_NS = {"ssd": 60, "sad": 60, "ncc": 60, "lncc": 120, "mi": 120, "nmi": 120, "ecc": 120, "mind": 240}
MODEL_FACTOR = {"greedy": 1.0, "displacement": 1.3, "velocity": 6.5, "symmetric": 11.0}
# bytes a voxel that a model holds beyond the first
MODEL_BYTES = {"greedy": 0, "displacement": 60, "velocity": 100, "symmetric": 220}


def registration_microseconds(settings: RegistrationSettings, finest_mm: float, channels: int = 0) -> float:
    """Time that the iterations of a registration take, at each voxel of the fixed image.

    Levels may end early, linear ones often do; this is the most.

    Parameters
    ----------
    settings : RegistrationSettings
    finest_mm : float
        Finest voxel size of the fixed image.
    channels : int
        Further images that are matched with the first.

    Examples
    --------
    >>> levels = {"shrink": [2, 1], "iterations": [8, 9]}
    >>> settings = RegistrationSettings.from_dict({"linear": [], "deformable": levels})
    >>> registration_microseconds(settings, 1.0)
    0.6
    """
    found = 0.0
    for stage in settings.linear:
        work = sum(count / shrink**3 for shrink, count in zip(stage.shrink, stage.iterations, strict=True))
        found += LINEAR_NS[stage.metric] * work
    if settings.deformable is not None:
        last = settings.deformable
        work = sum(count / shrink**3 for shrink, count in last.levels(finest_mm))
        found += ITERATION_NS[last.metric] * MODEL_FACTOR[last.model] * work
    return found * (1 + channels) / 1e3
