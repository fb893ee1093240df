"""Maps of world points: affines, fields on grids, and chains of them."""

from regcore.transforms.affine import (
    Affine,
    AffineParts,
    decompose,
    exp_affine,
    log_affine,
    mean_log_affine,
)
from regcore.transforms.chain import (
    Chain,
    Transform,
    compose_on_grid,
    displacement_field,
    fit_affine,
    identity,
    peel,
    split,
)
from regcore.transforms.fields import Displacement, Velocity

__all__ = [
    "Affine",
    "AffineParts",
    "Chain",
    "Displacement",
    "Transform",
    "Velocity",
    "compose_on_grid",
    "decompose",
    "displacement_field",
    "exp_affine",
    "fit_affine",
    "identity",
    "log_affine",
    "mean_log_affine",
    "peel",
    "split",
]
