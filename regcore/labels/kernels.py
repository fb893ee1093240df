"""Loops over voxels behind label fusion; they validate nothing and write into their last arrays."""

import numpy as np

from regcore.kernels.parallel import inline, kernel

_ZERO, _ONE = np.float32(0), np.float32(1)


@inline
def _winner(found, scores, count):  # type: ignore[no-untyped-def]
    """Index of the largest score; of equal ones that with the smallest label."""
    best = 0
    for i in range(1, count):
        if scores[i] > scores[best] or (scores[i] == scores[best] and found[i] < found[best]):
            best = i
    return best


@inline
def _tally(votes, weights, atlases, found, scores):  # type: ignore[no-untyped-def]
    """Collect weights by label into `found` and `scores`; how many labels there are."""
    count = 0
    for a in range(atlases):
        at = 0
        while at < count and found[at] != votes[a]:
            at += 1
        if at == count:
            found[at] = votes[a]
            scores[at] = _ZERO
            count += 1
        scores[at] += weights[a]
    return count


@kernel
def majority(start, stop, labels, fused, confidence):  # type: ignore[no-untyped-def]
    """Most frequent label of every voxel and its share of the votes; labels has shape (X, Y, Z, atlases)."""
    atlases = labels.shape[3]
    found = np.empty(atlases, np.int32)
    scores = np.empty(atlases, np.float32)
    ones = np.ones(atlases, np.float32)
    for x in range(start, stop):
        for y in range(labels.shape[1]):
            for z in range(labels.shape[2]):
                votes = labels[x, y, z]
                count = _tally(votes, ones, atlases, found, scores)
                best = _winner(found, scores, count)
                fused[x, y, z] = found[best]
                confidence[x, y, z] = scores[best] / np.float32(atlases)


@kernel
def disagreement(start, stop, labels, differs):  # type: ignore[no-untyped-def]
    """Mark voxels where not all labels are the same."""
    for x in range(start, stop):
        for y in range(labels.shape[1]):
            for z in range(labels.shape[2]):
                first = labels[x, y, z, 0]
                differs[x, y, z] = 0
                for a in range(1, labels.shape[3]):
                    if labels[x, y, z, a] != first:
                        differs[x, y, z] = 1


@inline
def _patch(image, x, y, z, rx, ry, rz, out):  # type: ignore[no-untyped-def]
    """Patch around a voxel, clamped to the image, at zero mean and unit length; whether it has contrast."""
    nx, ny, nz = image.shape[0], image.shape[1], image.shape[2]
    n = 0
    mean = _ZERO
    for i in range(x - rx, x + rx + 1):
        ii = min(max(i, 0), nx - 1)
        for j in range(y - ry, y + ry + 1):
            jj = min(max(j, 0), ny - 1)
            for k in range(z - rz, z + rz + 1):
                value = image[ii, jj, min(max(k, 0), nz - 1)]
                out[n] = value
                mean += value
                n += 1
    mean /= np.float32(n)
    length = _ZERO
    for m in range(n):
        out[m] -= mean
        length += out[m] * out[m]
    if length < np.float32(1e-8) * np.float32(n):
        for m in range(n):
            out[m] = _ZERO
        return False
    scale = _ONE / np.sqrt(length)
    for m in range(n):
        out[m] *= scale
    return True


@kernel
def weigh(start, stop, target, images, labels, voxels, reach, search, power, out):  # type: ignore[no-untyped-def]
    """Weight and label of each atlas at voxels start to stop, from its best patch within `search`.

    `images` has shape (atlases, X, Y, Z), `labels` (X, Y, Z, atlases); `out` is weights, chosen labels
    and joint residuals.
    """
    weights, chosen, residuals = out
    atlases = images.shape[0]
    rx, ry, rz = reach[0], reach[1], reach[2]
    sx, sy, sz = search[0], search[1], search[2]
    nx, ny, nz = target.shape[0], target.shape[1], target.shape[2]
    size = (2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1)
    mine = np.empty(size, np.float32)
    other = np.empty(size, np.float32)
    best = np.empty((atlases, size), np.float32)
    for v in range(start, stop):
        x, y, z = voxels[v, 0], voxels[v, 1], voxels[v, 2]
        _patch(target, x, y, z, rx, ry, rz, mine)
        for a in range(atlases):
            highest = np.float32(-2)
            label = labels[x, y, z, a]
            for dx in range(-sx, sx + 1):
                px = x + dx
                for dy in range(-sy, sy + 1):
                    py = y + dy
                    for dz in range(-sz, sz + 1):
                        pz = z + dz
                        if px < 0 or py < 0 or pz < 0 or px >= nx or py >= ny or pz >= nz:
                            continue
                        _patch(images[a], px, py, pz, rx, ry, rz, other)
                        likeness = _ZERO
                        for m in range(size):
                            likeness += mine[m] * other[m]
                        # a small price on distance: flat regions do not wander
                        likeness -= np.float32(1e-3) * np.float32(dx * dx + dy * dy + dz * dz)
                        if likeness > highest:
                            highest = likeness
                            label = labels[px, py, pz, a]
                            for m in range(size):
                                best[a, m] = other[m]
            chosen[v, a] = label
            # likeness 1 is distance 0; the floor keeps a perfect match from dividing by zero
            weights[v, a] = (np.float32(2.02) - np.float32(2) * highest) ** (-power)
        # joint residuals are filled in only where there is room for them
        for a in range(residuals.shape[1]):
            for b in range(a, atlases):
                both = _ZERO
                for m in range(size):
                    both += abs(mine[m] - best[a, m]) * abs(mine[m] - best[b, m])
                residuals[v, a, b] = both
                residuals[v, b, a] = both


@kernel
def vote(start, stop, labels, voxels, places, weights, chosen, nearby, out):  # type: ignore[no-untyped-def]
    """Weighted vote at voxels start to stop, heard with the votes of their neighbours.

    `places` is a volume with each voxel's place in `weights` and `chosen`, -1 where all atlases agree;
    `nearby` has shape (3, 3, 3): how much a neighbour's votes count; `out` is fused labels and confidence.
    """
    fused, confidence = out
    atlases = weights.shape[1]
    nx, ny, nz = places.shape
    found = np.empty(27 * atlases, np.int32)
    scores = np.empty(27 * atlases, np.float32)
    for v in range(start, stop):
        x, y, z = voxels[v, 0], voxels[v, 1], voxels[v, 2]
        count = 0
        total = _ZERO
        for i in range(max(x - 1, 0), min(x + 2, nx)):
            for j in range(max(y - 1, 0), min(y + 2, ny)):
                for k in range(max(z - 1, 0), min(z + 2, nz)):
                    share = nearby[i - x + 1, j - y + 1, k - z + 1]
                    if share == _ZERO:
                        continue
                    total += share
                    place = places[i, j, k]
                    # where all agree one vote speaks for all
                    for a in range(atlases if place >= 0 else 1):
                        label = chosen[place, a] if place >= 0 else labels[i, j, k, 0]
                        at = 0
                        while at < count and found[at] != label:
                            at += 1
                        if at == count:
                            found[at] = label
                            scores[at] = _ZERO
                            count += 1
                        scores[at] += share * weights[place, a] if place >= 0 else share
        best = _winner(found, scores, count)
        fused[x, y, z] = found[best]
        confidence[x, y, z] = min(scores[best] / total, _ONE)
