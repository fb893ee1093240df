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
from regcore.groupwise.influence import leave_one_out, without
from regcore.groupwise.shape import drift, mean_log_stretch, shape_update, update_transform
from regcore.groupwise.symmetry import mirror, symmetrise, symmetrise_sum

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
    "leave_one_out",
    "log_stretch",
    "mean_log_stretch",
    "mirror",
    "partial_sum",
    "shape_update",
    "sharpen",
    "stack_average",
    "symmetrise",
    "symmetrise_sum",
    "update_transform",
    "without",
]
