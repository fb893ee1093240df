"""The measures of `regcore.metrics` once more: slow, in NumPy and float64, with the derivative of each."""

import itertools

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter

CUBIC = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)


def ssd(fixed, warped, weights):
    difference, total = warped - fixed, weights.sum()
    return (weights * difference**2).sum() / total, 2 * weights * difference / total


def sad(fixed, warped, weights, epsilon=0.01):
    difference, total = warped - fixed, weights.sum()
    length = np.hypot(difference, epsilon)
    return (weights * (length - epsilon)).sum() / total, weights * difference / length / total


def ncc(fixed, warped, weights):
    share = weights / weights.sum()
    f, m = fixed - (share * fixed).sum(), warped - (share * warped).sum()
    of_f, of_m = np.sqrt((share * f**2).sum()), np.sqrt((share * m**2).sum())
    correlation = (share * f * m).sum() / (of_f * of_m)
    return 1 - correlation, -share * (f / of_f - correlation * m / of_m) / of_m


def lncc(fixed, warped, weights, radius=2, floor=1e-3):
    total, value, gradient = weights.sum(), 1.0, np.zeros(fixed.shape)
    for voxel in np.ndindex(fixed.shape):
        window = tuple(slice(max(i - radius, 0), i + radius + 1) for i in voxel)
        f, m = fixed[window] - fixed[window].mean(), warped[window] - warped[window].mean()
        covariance, of_f, of_m = (f * m).mean() + floor, (f**2).mean() + floor, (m**2).mean() + floor
        share = weights[voxel] / total
        value -= share * covariance**2 / (of_f * of_m)
        slope = 2 * covariance / (of_f * of_m) / f.size * (f - covariance / of_m * m)
        gradient[window] -= share * slope
    return value, gradient


def _entropies(measure, fixed, warped, weights, bins=32, smooth_fixed=False):
    """`measure` turns the entropies of fixed, warped and both into a value and its three derivatives."""
    span, w = bins - 5, (weights / weights.sum()).ravel()

    def distances(image):
        return np.arange(bins) - 2 - np.clip(image, 0, 1).reshape(-1, 1) * span

    def windows(image):
        return np.nan_to_num(CUBIC(distances(image)))

    nearest = np.eye(bins)[np.clip(np.floor(fixed * (bins - 1) + 0.5), 0, bins - 1).astype(int).ravel()]
    of_fixed, of_warped = windows(fixed) if smooth_fixed else nearest, windows(warped)
    joint = np.einsum("nj,nk,n->jk", of_fixed, of_warped, w)
    shares = [joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True), joint]
    logs = [np.log(np.where(share > 0, share, 1)) for share in shares]
    value, slopes = measure(*(-(share * log).sum() for share, log in zip(shares, logs, strict=True)))
    by_share = sum(-slope * (log + 1) for slope, log in zip(slopes, logs, strict=True))
    moved = -span * np.nan_to_num(CUBIC.derivative()(distances(warped)))
    gradient = np.einsum("nj,nk,n,jk->n", of_fixed, moved, w, by_share).reshape(warped.shape)
    return value, np.where((warped < 0) | (warped > 1), 0, gradient)


def mi(*images, **options):
    return _entropies(lambda f, m, both: (both - f - m, (-1, -1, 1)), *images, **options)


def nmi(*images, **options):
    return _entropies(
        lambda f, m, both: (1 - (f + m) / both, (-1 / both, -1 / both, (f + m) / both**2)), *images, **options
    )


def ecc(*images, **options):
    def measure(f, m, both):
        slope = -2 * both / (f + m) ** 2
        return 2 * both / (f + m) - 1, (slope, slope, 2 / (f + m))

    return _entropies(measure, *images, **options)


def mind(fixed, warped, weights, sigma=0.8, dilation=1):
    wide, reach = [axis for axis in range(3) if fixed.shape[axis] > 1], dilation + 3
    room = [(reach, reach) if n > 1 else (0, 0) for n in fixed.shape]
    inner = tuple(slice(reach, -reach) if n > 1 else slice(None) for n in fixed.shape)
    # the places that padding with edges repeats
    source = np.pad(np.arange(fixed.size).reshape(fixed.shape), room, mode="edge")
    pairs = [
        ((a, to_a), (b, to_b))
        for a, b in itertools.combinations(wide, 2)
        for to_a, to_b in itertools.product((-dilation, dilation), repeat=2)
    ]

    def patches(image):
        return gaussian_filter(image, [sigma if n > 1 else 0 for n in fixed.shape], radius=3)

    def descriptor(image):
        padded = image.ravel()[source]
        apart = [np.roll(padded, there, a) - np.roll(padded, here, b) for (a, there), (b, here) in pairs]
        distances = np.array([patches(each**2)[inner] for each in apart])
        least = distances.min(axis=0)
        spread = distances.mean(axis=0) - least + 1e-4
        return apart, distances, spread, (distances - least) / spread

    apart, distances, spread, scaled = descriptor(warped)
    found, wanted = np.exp(-scaled), np.exp(-descriptor(fixed)[-1])
    share = weights / weights.sum() / len(pairs)
    by_scaled = -2 * share * (found - wanted) * found
    by_spread = -(by_scaled * scaled).sum(axis=0) / spread
    by_distance = by_scaled / spread + by_spread / len(pairs)
    by_least = -by_spread - (by_scaled / spread).sum(axis=0)
    by_distance += (np.arange(len(pairs)).reshape(-1, 1, 1, 1) == distances.argmin(axis=0)) * by_least
    gradient = np.zeros(fixed.size)
    for ((a, there), (b, here)), difference, slope in zip(pairs, apart, by_distance, strict=True):
        pull = 2 * difference * patches(np.pad(slope, room))
        np.add.at(gradient, source, np.roll(pull, -there, a) - np.roll(pull, -here, b))
    return (share * ((found - wanted) ** 2)).sum(), gradient.reshape(fixed.shape)
