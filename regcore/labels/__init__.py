"""Label maps: propagation, fusion and overlap."""

from regcore.labels.fuse import FUSIONS, fuse, joint_fusion, local_weighted_vote, majority_vote
from regcore.labels.overlap import dice, overlap_table, surface_distances
from regcore.labels.propagate import propagate
from regcore.labels.staple import staple

__all__ = [
    "FUSIONS",
    "dice",
    "fuse",
    "joint_fusion",
    "local_weighted_vote",
    "majority_vote",
    "overlap_table",
    "propagate",
    "staple",
    "surface_distances",
]
