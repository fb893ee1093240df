"""Loops of patch-based label fusion, see `regcore.labels.weighted`; they validate nothing.

Images are cut to a box and have a margin around it, so that no patch ends outside; planes are flat, shape
(X, Y * Z), so that a sum over a window is a sum of shifted lines. `places` has no margin: the place of a
voxel in the lists of voxels to be decided, -1 where there is nothing to decide.
"""

import numpy as np

from regcore.kernels.parallel import inline, kernel
from regcore.labels.kernels import hear, winner

_ZERO, _ONE = np.float32(0), np.float32(1)
_ROWS_AT_ONCE = 8


@inline
def sum_windows(source, stride, width, out):  # type: ignore[no-untyped-def]
    """Sum of `width` values, `stride` apart, from every place on."""
    count = len(out)
    first = source[:count]
    for k in range(count):
        out[k] = first[k]
    for j in range(1, width):
        ahead = source[j * stride : j * stride + count]
        for k in range(count):
            out[k] += ahead[k]


@kernel
def patch_statistics(start, stop, image, row, reach, mean, scale):  # type: ignore[no-untyped-def]
    """Mean of the patch around every voxel, and one over its length about the mean (0 where it is flat).

    `row` is the length of a row of a plane. Sums run in float64: lengths are small beside the intensities.
    """
    rx, ry, rz = reach[0], reach[1], reach[2]
    planes, size = image.shape
    width = (2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1)
    inner = size - 2 * (ry * row + rz)
    sums, rows, total = np.empty(size), np.empty(inner + 2 * rz), np.empty((2, inner))
    for x in range(max(start, rx), min(stop, planes - rx)):
        for power in range(2):
            sums[:] = 0.0
            for i in range(x - rx, x + rx + 1):
                plane = image[i]
                for k in range(size):
                    value = np.float64(plane[k])
                    sums[k] += value * value if power == 1 else value
            sum_windows(sums, row, 2 * ry + 1, rows)
            sum_windows(rows, 1, 2 * rz + 1, total[power])
        middle, length = mean[x, ry * row + rz :], scale[x, ry * row + rz :]
        for k in range(inner):
            average = total[0, k] / width
            square = total[1, k] - average * total[0, k]
            middle[k] = average
            # below this share of the sum of squares there is nothing but rounding
            flat = square <= 1e-10 * total[1, k]
            length[k] = _ZERO if flat else np.float32(1.0 / np.sqrt(square))


@kernel
def search(start, stop, target, atlas, row, places, shifts, reach, margin, out):  # type: ignore[no-untyped-def]
    """Shift at which an atlas's patch is most like the target's, and how alike they are (correlation).

    `target` and `atlas` are image, patch means and scales. `shifts` has shape (shifts, 3), the nearest first:
    of equally good ones the nearest counts. `out` is likeness and chosen shift of every voxel to decide.
    """
    fixed, fixed_mean, fixed_scale = target
    moving, moving_mean, moving_scale = atlas
    likeness, chosen = out
    rx, ry, rz = reach[0], reach[1], reach[2]
    mx, my, mz = margin[0], margin[1], margin[2]
    width = np.float32((2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1))
    ny, nz = places.shape[1], places.shape[2]
    # a strip of rows at a time stays in the processor's nearest memory
    size = (_ROWS_AT_ONCE + 2 * ry) * row + 2 * rz
    products, rows, sums = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    best, pick = np.empty(size, np.float32), np.empty(size, np.int32)
    strips = -(-ny // _ROWS_AT_ONCE)
    for strip in range(start * strips, stop * strips):
        x, low = strip // strips, strip % strips * _ROWS_AT_ONCE
        high = min(low + _ROWS_AT_ONCE, ny)
        first_z, last_z = nz, 0
        for y in range(low, high):
            for z in range(nz):
                if places[x, y, z] >= 0:
                    first_z, last_z = min(first_z, z), max(last_z, z + 1)
        if last_z == 0:
            continue
        first, count = (low + my) * row + mz + first_z, (high - low - 1) * row + last_z - first_z
        corner = first - ry * row - rz
        covered, flanked = count + 2 * (ry * row + rz), count + 2 * rz
        best[:count] = np.float32(-2)
        pick[:count] = 0
        own_mean = fixed_mean[x + mx, first : first + count]
        own_scale = fixed_scale[x + mx, first : first + count]
        for s in range(len(shifts)):
            plane, offset = x + mx + shifts[s, 0], shifts[s, 1] * row + shifts[s, 2]
            line = products[:covered]
            for i in range(-rx, rx + 1):
                here = fixed[x + mx + i, corner : corner + covered]
                there = moving[plane + i, corner + offset : corner + offset + covered]
                if i == -rx:
                    for k in range(covered):
                        line[k] = here[k] * there[k]
                else:
                    for k in range(covered):
                        line[k] += here[k] * there[k]
            sum_windows(line, row, 2 * ry + 1, rows[:flanked])
            sum_windows(rows[:flanked], 1, 2 * rz + 1, sums[:count])
            other_mean = moving_mean[plane, first + offset : first + offset + count]
            other_scale = moving_scale[plane, first + offset : first + offset + count]
            for k in range(count):
                alike = (sums[k] - width * own_mean[k] * other_mean[k]) * other_scale[k] * own_scale[k]
                if alike > best[k]:
                    best[k] = alike
                    pick[k] = s
        for y in range(low, high):
            for z in range(first_z, last_z):
                place = places[x, y, z]
                if place >= 0:
                    likeness[place] = best[(y - low) * row + z - first_z]
                    chosen[place] = pick[(y - low) * row + z - first_z]


@inline
def unit_patch(image, x, y, z, rx, ry, rz, out):  # type: ignore[no-untyped-def]
    """Patch around a voxel at zero mean and unit length, all zero where it is flat."""
    n = 0
    mean = _ZERO
    for i in range(x - rx, x + rx + 1):
        for j in range(y - ry, y + ry + 1):
            line = image[i, j, z - rz : z + rz + 1]
            for k in range(2 * rz + 1):
                out[n] = line[k]
                mean += line[k]
                n += 1
    mean /= np.float32(n)
    length = _ZERO
    squares = _ZERO
    for m in range(n):
        squares += out[m] * out[m]
        out[m] -= mean
        length += out[m] * out[m]
    scale = _ONE / np.sqrt(length) if length > np.float32(1e-10) * squares else _ZERO
    for m in range(n):
        out[m] *= scale


@inline
def solve_non_negative(matrix, factor, weights):  # type: ignore[no-untyped-def]
    """Weights that minimise ``w' matrix w`` at sum 1 and none below 0; `matrix` is positive definite.

    Cholesky's solution where it has no negative weight; else the negative ones start at 0 and every weight in
    turn goes to its best value at or above 0, which converges to the one solution.
    """
    n = len(weights)
    for i in range(n):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= factor[i, k] * factor[j, k]
            # rounding can take a pivot below zero only where the matrix is all but singular
            factor[i, j] = np.sqrt(max(rest, 1e-12)) if i == j else rest / factor[j, j]
    for i in range(n):
        rest = 1.0
        for k in range(i):
            rest -= factor[i, k] * weights[k]
        weights[i] = rest / factor[i, i]
    for i in range(n - 1, -1, -1):
        rest = weights[i]
        for k in range(i + 1, n):
            rest -= factor[k, i] * weights[k]
        weights[i] = rest / factor[i, i]
    negative = False
    for i in range(n):
        if weights[i] < 0.0:
            weights[i] = 0.0
            negative = True
    sweep = 0
    while negative and sweep < 200:
        moved, largest = 0.0, 0.0
        for i in range(n):
            rest = 1.0
            for k in range(n):
                rest -= matrix[i, k] * weights[k]
            better = max(weights[i] + rest / matrix[i, i], 0.0)
            moved = max(moved, abs(better - weights[i]))
            largest = max(largest, better)
            weights[i] = better
        negative = moved > 1e-6 * largest
        sweep += 1
    total = 0.0
    for i in range(n):
        total += weights[i]
    for i in range(n):
        weights[i] /= total


@kernel
def joint_weights(start, stop, target, atlases, voxels, chosen, shifts, reach, alpha, beta, weights):  # type: ignore
    """Weights of the atlases at voxels start to stop, from how their best patches err together.

    `target` has shape (X, Y, Z) and `atlases` (atlases, X, Y, Z), both with margin; `voxels` count from it.
    """
    count = atlases.shape[0]
    rx, ry, rz = reach[0], reach[1], reach[2]
    size = (2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1)
    mine, apart = np.empty(size, np.float32), np.empty((count, size), np.float32)
    matrix, factor, solved = np.empty((count, count)), np.empty((count, count)), np.empty(count)
    for v in range(start, stop):
        x, y, z = voxels[v, 0], voxels[v, 1], voxels[v, 2]
        unit_patch(target, x, y, z, rx, ry, rz, mine)
        for a in range(count):
            shift = shifts[chosen[a, v]]
            theirs = apart[a]
            unit_patch(atlases[a], x + shift[0], y + shift[1], z + shift[2], rx, ry, rz, theirs)
            for m in range(size):
                theirs[m] = abs(theirs[m] - mine[m])
        for a in range(count):
            one = apart[a]
            for b in range(a + 1):
                other = apart[b]
                both = _ZERO
                for m in range(size):
                    both += one[m] * other[m]
                value = np.float64(both)
                value = value * value if beta == 2.0 else value**beta
                matrix[a, b] = value
                matrix[b, a] = value
            matrix[a, a] += alpha
        solve_non_negative(matrix, factor, solved)
        for a in range(count):
            weights[a, v] = np.float32(solved[a])


@kernel
def vote(start, stop, labels, voxels, places, weights, chosen, shifts, reach, margin, out):  # type: ignore
    """Weighted vote at voxels start to stop: the patches of all voxels nearby speak for each voxel in them.

    `labels` has shape (atlases, X, Y, Z) with margin, as `voxels` have; `out` is fused labels and confidence.
    """
    fused, confidence = out
    atlases = weights.shape[0]
    nx, ny, nz = places.shape
    rx, ry, rz = reach[0], reach[1], reach[2]
    size = (2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1)
    found, scores = np.empty(size * atlases, np.int32), np.empty(size * atlases, np.float32)
    near = np.empty(size, np.int32)
    for v in range(start, stop):
        x, y, z = voxels[v, 0], voxels[v, 1], voxels[v, 2]
        cx, cy, cz = x - margin[0], y - margin[1], z - margin[2]
        speakers = 0
        for i in range(max(cx - rx, 0), min(cx + rx + 1, nx)):
            for j in range(max(cy - ry, 0), min(cy + ry + 1, ny)):
                for k in range(max(cz - rz, 0), min(cz + rz + 1, nz)):
                    near[speakers] = places[i, j, k]
                    # one that has nothing to say is overwritten by the next
                    speakers += places[i, j, k] >= 0
        count, last = 0, 0
        for a in range(atlases):
            here = labels[a]
            for m in range(speakers):
                weight, shift = weights[a, near[m]], shifts[chosen[a, near[m]]]
                if weight > _ZERO:
                    label = here[x + shift[0], y + shift[1], z + shift[2]]
                    last, count = hear(label, weight, last, found, scores, count)
        best = winner(found, scores, count)
        total = _ZERO
        for i in range(count):
            total += scores[i]
        fused[v] = found[best]
        confidence[v] = min(scores[best] / total, _ONE)
