"""Loops of the MIND-SSC descriptor, see `regcore.metrics.mind`: patch distances, descriptors, forces.

Distances and images have a margin; descriptors and forces do not. Comparison j gives the squared difference
of every voxel from the one at a shift, averaged over a patch; pairs 2j and 2j + 1 of the patches around a
voxel read it at their places, which are offsets from the voxel.
"""

import numpy as np

from regcore.kernels.parallel import inline, kernel


@kernel
def compare_patches(start, stop, image, shift, out):  # type: ignore[no-untyped-def]
    """Squared difference of every voxel from the one at `shift`; zero where that lies outside."""
    nx, ny, nz = image.shape
    low, high = max(-shift[2], 0), nz - max(shift[2], 0)
    for x in range(start, stop):
        for y in range(ny):
            line = out[x, y]
            line[:] = 0
            if 0 <= x + shift[0] < nx and 0 <= y + shift[1] < ny:
                here, there = image[x, y], image[x + shift[0], y + shift[1]]
                for z in range(low, high):
                    difference = here[z] - there[z + shift[2]]
                    line[z] = difference * difference


@inline
def falling_exponential(q):  # type: ignore[no-untyped-def]
    """``exp(-q)`` for 0 <= q <= 12 to six digits, in arithmetic that runs on several voxels at once."""
    t = q * np.float32(-1 / 32)
    e = np.float32(1 / 24) + t * np.float32(1 / 120)
    e = np.float32(1 / 6) + t * e
    e = np.float32(1 / 2) + t * e
    e = np.float32(1) + t * e
    e = np.float32(1) + t * e
    # the Taylor series of a 32nd of the way, to the power of 32
    e *= e
    e *= e
    e *= e
    e *= e
    return e * e


@inline
def describe_row(x, y, distances, places, margin, floor, apart, smallest, owner, spread, out):  # type: ignore
    """Descriptors of a row of voxels, with the normalised distances and what they were normalised by."""
    pairs, nz = out.shape
    smallest[:] = np.float32(1e30)
    spread[:] = np.float32(0)
    for k in range(pairs):
        place = places[k]
        line = distances[k // 2, x + margin[0] + place[0], y + margin[1] + place[1]]
        shift, row = margin[2] + place[2], apart[k]
        for z in range(nz):
            d = line[z + shift]
            row[z] = d
            spread[z] += d
            owner[z] = k if d < smallest[z] else owner[z]
            smallest[z] = min(d, smallest[z])
    share = np.float32(1 / pairs)
    for z in range(nz):
        spread[z] = np.float32(1) / (spread[z] * share - smallest[z] + floor)
    for k in range(pairs):
        row, described = apart[k], out[k]
        for z in range(nz):
            row[z] = (row[z] - smallest[z]) * spread[z]
            described[z] = falling_exponential(row[z])


@kernel
def describe(start, stop, distances, places, margin, floor, out):  # type: ignore[no-untyped-def]
    """Descriptor of every voxel."""
    pairs, _, ny, nz = out.shape
    apart, described = np.empty((pairs, nz), np.float32), np.empty((pairs, nz), np.float32)
    smallest, spread, owner = np.empty(nz, np.float32), np.empty(nz, np.float32), np.empty(nz, np.int32)
    for x in range(start, stop):
        for y in range(ny):
            describe_row(x, y, distances, places, margin, floor, apart, smallest, owner, spread, described)
            for k in range(pairs):
                out[k, x, y] = described[k]


@kernel
def patch_forces(start, stop, distances, places, margin, floor, fixed, weights, out):  # type: ignore[no-untyped-def]
    """Sum of squared differences of descriptors; its derivative by every patch distance into `out`."""
    pairs, _, ny, nz = out.shape
    apart, described = np.empty((pairs, nz), np.float32), np.empty((pairs, nz), np.float32)
    smallest, spread, owner = np.empty(nz, np.float32), np.empty(nz, np.float32), np.empty(nz, np.int32)
    error, total, tilt = np.empty(nz, np.float32), np.empty(nz, np.float32), np.empty(nz, np.float32)
    value = np.float64(0.0)
    share = np.float32(1 / pairs)
    for x in range(start, stop):
        for y in range(ny):
            describe_row(x, y, distances, places, margin, floor, apart, smallest, owner, spread, described)
            error[:] = np.float32(0)
            total[:] = np.float32(0)
            tilt[:] = np.float32(0)
            for k in range(pairs):
                line, wanted, row, found = out[k, x, y], fixed[k, x, y], apart[k], described[k]
                for z in range(nz):
                    difference = found[z] - wanted[z]
                    error[z] += difference * difference
                    force = np.float32(-2) * difference * found[z] * spread[z]
                    line[z] = force
                    total[z] += force
                    tilt[z] += force * row[z]
            row_value, weight = np.float32(0), weights[x, y]
            for z in range(nz):
                row_value += weight[z] * error[z]
                total[z] -= tilt[z]
                tilt[z] *= share
            value += np.float64(row_value)
            for k in range(pairs):
                line = out[k, x, y]
                for z in range(nz):
                    # the smallest distance is subtracted from all
                    smaller = total[z] if owner[z] == k else np.float32(0)
                    line[z] = (line[z] - tilt[z] - smaller) * weight[z]
    return value


@kernel
def gather_forces(start, stop, forces, places, margin, out):  # type: ignore[no-untyped-def]
    """Forces of the two pairs that share a comparison, where that comparison was made."""
    _, nx, ny, nz = forces.shape
    for x in range(start, stop):
        out[x] = 0
        for k in range(2):
            place = places[k]
            inner_x = x - margin[0] - place[0]
            shift = margin[2] + place[2]
            if 0 <= inner_x < nx:
                for y in range(ny):
                    source, line = forces[k, inner_x, y], out[x, y + margin[1] + place[1]]
                    for z in range(nz):
                        line[z + shift] += source[z]


@kernel
def pull_ends(start, stop, image, force, shift, scale, out):  # type: ignore[no-untyped-def]
    """Add the derivative of ``force (image(u) - image(u + shift))^2`` by both ends of every comparison."""
    nx, ny, nz = image.shape
    for sign in (-1, 1):
        sx, sy, sz = sign * shift[0], sign * shift[1], sign * shift[2]
        low, high = max(-sz, 0), nz - max(sz, 0)
        for x in range(max(start, -sx), min(stop, nx - sx)):
            for y in range(max(-sy, 0), ny - max(sy, 0)):
                here, there, line = image[x, y], image[x + sx, y + sy], out[x, y]
                if sign > 0:
                    pull = force[x, y]
                    for z in range(low, high):
                        line[z] += scale * pull[z] * (here[z] - there[z + sz])
                else:
                    pull = force[x + sx, y + sy]
                    for z in range(low, high):
                        line[z] += scale * pull[z + sz] * (here[z] - there[z + sz])
