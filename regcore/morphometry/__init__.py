"""Shape in numbers: Jacobian maps and structures' volumes."""

from regcore.morphometry.jacobian import log_jacobian, log_size, smooth_map
from regcore.morphometry.structures import (
    structure_jacobians,
    structure_means,
    structure_volumes,
    volume_agreement,
)

__all__ = [
    "log_jacobian",
    "log_size",
    "smooth_map",
    "structure_jacobians",
    "structure_means",
    "structure_volumes",
    "volume_agreement",
]
