"""Shape in numbers: Jacobian maps and structures' volumes."""

from regcore.morphometry.accumulation import accumulate, value_summary, volume_histogram
from regcore.morphometry.asymmetry import asymmetry_index, asymmetry_table, log_asymmetry_index
from regcore.morphometry.jacobian import log_jacobian, log_size, smooth_map
from regcore.morphometry.structures import (
    structure_jacobians,
    structure_means,
    structure_volumes,
    volume_agreement,
)

__all__ = [
    "accumulate",
    "asymmetry_index",
    "asymmetry_table",
    "log_asymmetry_index",
    "log_jacobian",
    "log_size",
    "smooth_map",
    "structure_jacobians",
    "structure_means",
    "structure_volumes",
    "value_summary",
    "volume_agreement",
    "volume_histogram",
]
