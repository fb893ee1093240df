"""Which regulariser the settings of a deformable stage name, and how much it counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from regcore.registration.pyramid import finest_spacing
from regcore.registration.settings import DeformableSettings
from regcore.regularisers import bending, diffusion, elastic, total_variation
from regcore.space import Grid

Float32 = npt.NDArray[np.float32]
Regulariser = Callable[..., tuple[float, Float32]]

WEIGHTS = {"diffusion": 0.4, "bending": 2.0, "elastic": 0.3, "total_variation": 0.2}
"""Weights that suit lncc; of bending, in squared voxels."""
METRIC_RANGES = {
    "ssd": 0.03,
    "sad": 0.15,
    "ncc": 0.25,
    "lncc": 1.0,
    "mi": 1.5,
    "nmi": 0.35,
    "ecc": 0.6,
    "mind": 0.05,
}
"""What other measures gain by a deformation, as a share of what lncc does: a weight goes with it."""


def regulariser_of(settings: DeformableSettings) -> Regulariser:
    """The regulariser of the settings as a function of field and spacing."""
    regularisers: dict[str, Regulariser] = {
        "diffusion": diffusion.value_and_gradient,
        "bending": bending.value_and_gradient,
        "elastic": partial(elastic.value_and_gradient, mu=settings.lame_mu, lamb=settings.lame_lambda),
        "total_variation": total_variation.value_and_gradient,
    }
    return regularisers[settings.regulariser]


def weight_of(settings: DeformableSettings, grid: Grid) -> float:
    """Weight of the regulariser; its own where none is set, which for bending goes with the voxels' area.

    Examples
    --------
    >>> grid = Grid((9, 9, 9), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> weight_of(DeformableSettings(model="velocity", regulariser="bending"), grid)
    8.0
    """
    if settings.regularisation_weight is not None:
        return settings.regularisation_weight
    own = WEIGHTS[settings.regulariser] * METRIC_RANGES[settings.metric]
    return own * finest_spacing(grid) ** 2 if settings.regulariser == "bending" else own
