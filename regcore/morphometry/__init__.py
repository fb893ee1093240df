"""Shape in numbers: Jacobian maps and structures' volumes."""

from regcore.morphometry.accumulation import accumulate, value_summary, volume_histogram
from regcore.morphometry.jacobian import log_jacobian
from regcore.morphometry.structures import structure_jacobians, structure_means, structure_volumes

__all__ = [
    "accumulate",
    "log_jacobian",
    "structure_jacobians",
    "structure_means",
    "structure_volumes",
    "value_summary",
    "volume_histogram",
]
