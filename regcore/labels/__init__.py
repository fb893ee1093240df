"""Label maps: propagation, fusion and overlap."""

from regcore.labels.fuse import joint_fusion, local_weighted_vote, majority_vote
from regcore.labels.overlap import dice, overlap_table, surface_distances
from regcore.labels.propagate import propagate

__all__ = [
    "dice",
    "joint_fusion",
    "local_weighted_vote",
    "majority_vote",
    "overlap_table",
    "propagate",
    "surface_distances",
]
