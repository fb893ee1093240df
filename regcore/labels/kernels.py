"""Loops over voxels behind label fusion; they validate nothing and write into their last arrays."""

import numpy as np

from regcore.kernels.parallel import inline, kernel

_ZERO = np.float32(0)


@inline
def winner(found, scores, count):  # type: ignore[no-untyped-def]
    """Index of the largest score; of equal ones that with the smallest label."""
    best = 0
    for i in range(1, count):
        if scores[i] > scores[best] or (scores[i] == scores[best] and found[i] < found[best]):
            best = i
    return best


@inline
def hear(label, weight, last, found, scores, count):  # type: ignore[no-untyped-def]
    """Add a vote for a label; its place and how many labels there are. `last` is looked at first."""
    at = last
    if count == 0 or found[at] != label:
        at = 0
        while at < count and found[at] != label:
            at += 1
        if at == count:
            found[at] = label
            scores[at] = _ZERO
            count += 1
    scores[at] += weight
    return at, count


@kernel
def majority(start, stop, labels, fused, confidence):  # type: ignore[no-untyped-def]
    """Most frequent label of every voxel and its share of the votes; labels has shape (atlases, X, Y, Z)."""
    atlases = labels.shape[0]
    found, scores = np.empty(atlases, np.int32), np.empty(atlases, np.float32)
    for x in range(start, stop):
        for y in range(labels.shape[2]):
            for z in range(labels.shape[3]):
                last, count = 0, 0
                for a in range(atlases):
                    last, count = hear(labels[a, x, y, z], np.float32(1), last, found, scores, count)
                best = winner(found, scores, count)
                fused[x, y, z] = found[best]
                confidence[x, y, z] = scores[best] / np.float32(atlases)


@kernel
def disagreement(start, stop, labels, differs):  # type: ignore[no-untyped-def]
    """Mark voxels where not all labels are the same; labels has shape (atlases, X, Y, Z)."""
    for x in range(start, stop):
        differs[x] = 0
        for a in range(1, labels.shape[0]):
            for y in range(labels.shape[2]):
                for z in range(labels.shape[3]):
                    if labels[a, x, y, z] != labels[0, x, y, z]:
                        differs[x, y, z] = 1
