"""Templates: common grid, coverage-aware averages, shape update, convergence."""

from regcore.groupwise.average import (
    PartialSum,
    average,
    combine,
    covered_share,
    deviation,
    log_stretch,
    partial_sum,
    sharpen,
    stack_average,
)
from regcore.groupwise.convergence import bias_certificate, convergence_row, has_converged
from regcore.groupwise.grid import average_grid, foreground_box
from regcore.groupwise.shape import drift, mean_log_stretch, shape_update, update_transform

__all__ = [
    "PartialSum",
    "average",
    "average_grid",
    "bias_certificate",
    "combine",
    "convergence_row",
    "covered_share",
    "deviation",
    "drift",
    "foreground_box",
    "has_converged",
    "log_stretch",
    "mean_log_stretch",
    "partial_sum",
    "shape_update",
    "sharpen",
    "stack_average",
    "update_transform",
]
