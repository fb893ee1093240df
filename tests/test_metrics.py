"""Gradients of the metrics against finite differences, and values against slow references."""

import itertools

import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter
from scipy.stats import entropy

from regcore.errors import InputError
from regcore.kernels.parallel import set_threads
from regcore.metrics import ecc, lncc, mi, mind, ncc, nmi, sad, ssd


def images(seed: int = 0, shape: tuple[int, int, int] = (13, 12, 11)):
    rng = np.random.default_rng(seed)
    fixed = rng.random(shape).astype(np.float32)
    warped = (0.1 + 0.5 * fixed + 0.35 * rng.random(shape)).astype(np.float32)
    return fixed, warped, rng.random(shape).astype(np.float32), rng.standard_normal(shape).astype(np.float32)


each_metric = pytest.mark.parametrize(
    "metric", [ecc, lncc, mi, mind, ncc, nmi, sad, ssd], ids=lambda m: m.__name__.rsplit(".", 1)[-1]
)


@each_metric
@pytest.mark.parametrize("shape", [(13, 12, 11), (20, 17, 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_derivative_of_the_value(metric, shape, weighted):
    fixed, warped, weights, direction = images(shape=shape)
    weights = weights if weighted else None
    # MIND is far from linear in noise; its derivative also has a reference in double precision below
    step = 2e-5 if metric is mind else 2e-3
    downhill = metric.value_and_gradient(fixed, warped, weights)[1]
    # part of the way along the gradient, so that the derivative is not a small difference of large terms
    direction += downhill / downhill.std()
    direction *= (warped > 0.02) & (warped < 0.98)
    up = metric.value_and_gradient(fixed, warped + step * direction, weights)[0]
    down = metric.value_and_gradient(fixed, warped - step * direction, weights)[0]
    gradient = metric.value_and_gradient(fixed, warped, weights)[1]
    expected = (up - down) / (2 * step)
    assert float((gradient * direction).sum(dtype=np.float64)) == pytest.approx(expected, rel=1e-2, abs=2e-5)


def test_lncc_agrees_with_a_slow_reference():
    fixed, warped, weights, _ = images(1, (9, 8, 7))
    total = 0.0
    for x, y, z in np.ndindex(fixed.shape):
        window = tuple(slice(max(i - 2, 0), i + 3) for i in (x, y, z))
        f, w = fixed[window].astype(float).ravel(), warped[window].astype(float).ravel()
        covariance = ((f - f.mean()) * (w - w.mean())).mean()
        total += weights[x, y, z] * covariance**2 / ((f.var() + 1e-4) * (w.var() + 1e-4))
    value = lncc.value_and_gradient(fixed, warped, weights)[0]
    assert value == pytest.approx(1 - total / weights.sum(dtype=float), abs=1e-5)


def test_ncc_ignores_scale_and_offset():
    fixed, warped, weights, _ = images(2)
    expected = ncc.value_and_gradient(fixed, warped, weights)[0]
    assert ncc.value_and_gradient(fixed, 5 * warped + 3, weights)[0] == pytest.approx(expected, abs=1e-5)


def test_constant_image_has_no_correlation_and_no_gradient():
    fixed, *_ = images(3)
    value, gradient = ncc.value_and_gradient(fixed, np.ones_like(fixed))
    assert value == 1.0
    assert not gradient.any()


def test_mutual_information_does_not_care_which_contrast():
    fixed, *_ = images(4, (24, 24, 24))
    straight = mi.value_and_gradient(fixed, fixed)[0]
    inverted = mi.value_and_gradient(fixed, 1 - fixed)[0]
    assert inverted == pytest.approx(straight, rel=0.02)
    assert straight < -1.0


@each_metric
def test_where_the_weight_is_zero_nothing_counts(metric):
    fixed, warped, *_ = images(5, (24, 12, 11))
    weights = np.zeros_like(fixed)
    weights[:8] = 1
    changed = warped.copy()
    # beyond what windows and patches of the counted voxels reach
    changed[14:] = 0.5
    value, gradient = (
        each.copy() if i else each for i, each in enumerate(metric.value_and_gradient(fixed, warped, weights))
    )
    assert metric.value_and_gradient(fixed, changed, weights)[0] == pytest.approx(value, rel=1e-6)
    assert gradient[:8].any()
    assert not gradient[14:].any()


@each_metric
def test_without_any_weight_there_is_no_gradient(metric):
    fixed, warped, *_ = images(6)
    value, gradient = metric.value_and_gradient(fixed, warped, np.zeros_like(fixed))
    assert np.isfinite(value)
    assert not gradient.any()


@each_metric
def test_the_number_of_threads_does_not_change_a_bit(metric):
    fixed, warped, weights, _ = images(7, (48, 44, 40))
    results = []
    for threads in (1, 2, 5):
        set_threads(threads)
        results.append(metric.value_and_gradient(fixed, warped, weights))
    set_threads(0)
    for value, gradient in results[1:]:
        assert value == results[0][0]
        assert np.array_equal(gradient, results[0][1])


def entropies(fixed, warped, weights, bins=32):
    """Entropies of fixed, warped and both from a histogram filled voxel by voxel."""
    joint = np.zeros((bins, bins))
    for f, m, w in zip(fixed.ravel(), warped.ravel(), weights.ravel(), strict=True):
        place = 2 + float(m) * (bins - 5)
        spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
        shares = np.nan_to_num(spline(np.arange(bins) - place))
        joint[int(f * (bins - 1) + 0.5)] += w * shares
    joint /= joint.sum()
    return [entropy(share.ravel()) for share in (joint.sum(axis=1), joint.sum(axis=0), joint)]


def test_measures_of_entropies_agree_with_a_slow_reference():
    fixed, warped, weights, _ = images(8, (9, 8, 7))
    of_fixed, of_warped, of_both = entropies(fixed, warped, weights)
    apart = of_fixed + of_warped
    assert mi.value_and_gradient(fixed, warped, weights)[0] == pytest.approx(of_both - apart, abs=1e-6)
    assert nmi.value_and_gradient(fixed, warped, weights)[0] == pytest.approx(1 - apart / of_both, abs=1e-6)
    expected = 1 - 2 * (apart - of_both) / apart
    assert ecc.value_and_gradient(fixed, warped, weights)[0] == pytest.approx(expected, abs=1e-6)


def slow_smooth_entropies(fixed, warped, weights, bins=32):
    """As `entropies`, with windows on the fixed image as well."""
    spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    shares = [
        np.nan_to_num(spline(np.arange(bins) - 2 - image.reshape(-1, 1).astype(float) * (bins - 5)))
        for image in (fixed, warped)
    ]
    joint = np.einsum("nj,nk,n->jk", *shares, weights.ravel())
    joint /= joint.sum()
    return [entropy(share.ravel()) for share in (joint.sum(axis=1), joint.sum(axis=0), joint)]


def test_with_windows_on_both_images_mutual_information_is_smooth_and_does_not_change_when_they_swap():
    fixed, warped, weights, direction = images(8, (9, 8, 7))
    of_fixed, of_warped, of_both = slow_smooth_entropies(fixed, warped, weights)
    value, gradient = mi.value_and_gradient(fixed, warped, weights, smooth_fixed=True)
    swapped, by_fixed = mi.value_and_gradient(warped, fixed, weights, smooth_fixed=True)
    assert value == pytest.approx(of_both - of_fixed - of_warped, abs=1e-6)
    assert swapped == pytest.approx(value, rel=1e-9)
    step = 2e-3 * direction * ((np.minimum(fixed, warped) > 0.02) & (np.maximum(fixed, warped) < 0.98))
    for slope, images_at in (
        (gradient, lambda s: (fixed, warped + s)),
        (by_fixed, lambda s: (fixed + s, warped)),
    ):
        part = step + 2e-3 * slope / slope.std() * (step != 0)
        up, down = (
            mi.value_and_gradient(*images_at(s * part), weights, smooth_fixed=True)[0] for s in (1, -1)
        )
        assert float((slope * part).sum()) == pytest.approx((up - down) / 2, rel=1e-2)


def test_ncc_agrees_with_a_slow_reference():
    fixed, warped, weights, _ = images(9)
    covariance = np.cov(fixed.ravel(), warped.ravel(), aweights=weights.ravel())
    expected = 1 - covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert ncc.value_and_gradient(fixed, warped, weights)[0] == pytest.approx(expected, abs=1e-6)


def test_sad_is_the_absolute_difference_but_for_epsilon():
    fixed, warped, weights, _ = images(10)
    expected = float((np.abs(warped - fixed) * weights).sum() / weights.sum())
    assert sad.value_and_gradient(fixed, warped, weights, epsilon=1e-4)[0] == pytest.approx(
        expected, abs=1e-4
    )
    value, gradient = sad.value_and_gradient(fixed, fixed)
    assert value == 0
    assert not gradient.any()


def slow_mind(fixed, warped, weights, sigma=0.8, dilation=1):
    """Energy of MIND-SSC in float64, pair by pair."""

    def descriptor(image):
        wide = [axis for axis in range(3) if image.shape[axis] > 1]
        room = 12
        padded = np.pad(image, [(room, room) if n > 1 else (0, 0) for n in image.shape], mode="edge")
        inner = tuple(slice(room, -room) if n > 1 else slice(None) for n in image.shape)
        distances = []
        for a, b in itertools.combinations(wide, 2):
            for to_a, to_b in itertools.product((-dilation, dilation), repeat=2):
                difference = np.roll(padded, to_a, a) - np.roll(padded, to_b, b)
                patch = [sigma if n > 1 else 0 for n in image.shape]
                distances.append(gaussian_filter(difference**2, patch, truncate=3 / sigma * 0.99)[inner])
        least = np.min(distances, axis=0)
        return np.exp(-(distances - least) / (np.mean(distances, axis=0) - least + 1e-4))

    error = ((descriptor(warped) - descriptor(fixed)) ** 2).mean(axis=0)
    return float((weights * error).sum() / weights.sum())


@pytest.mark.parametrize("shape", [(13, 12, 11), (20, 17, 1), (1, 17, 20)])
def test_mind_agrees_with_a_slow_reference_and_its_derivative(shape):
    fixed, warped, weights, direction = (each.astype(np.float64) for each in images(11, shape))
    value, gradient = mind.value_and_gradient(*(each.astype(np.float32) for each in (fixed, warped, weights)))
    assert value == pytest.approx(slow_mind(fixed, warped, weights), rel=1e-5)
    step = 1e-6
    up = slow_mind(fixed, warped + step * direction, weights)
    down = slow_mind(fixed, warped - step * direction, weights)
    assert float((gradient * direction).sum()) == pytest.approx((up - down) / (2 * step), rel=1e-4)


def test_mind_sees_neither_contrast_nor_offset():
    fixed, warped, *_ = images(12)
    expected = mind.value_and_gradient(fixed, warped)[0]
    assert mind.value_and_gradient(1 - fixed, warped)[0] == pytest.approx(expected, rel=1e-4)
    assert mind.value_and_gradient(fixed, warped + 3)[0] == pytest.approx(expected, rel=1e-3)


def test_what_is_prepared_once_changes_nothing():
    fixed, warped, weights, _ = images(13)
    prepared = mind.prepare(fixed, dilation=3)
    for _ in range(2):
        value, gradient = mind.value_and_gradient(fixed, warped, weights, dilation=3, prepared=prepared)
        expected = mind.value_and_gradient(fixed, warped, weights, dilation=3)
        assert value == expected[0]
        assert np.array_equal(gradient, expected[1])


def test_mind_refuses_a_line_of_voxels():
    with pytest.raises(InputError, match="two or three dimensions"):
        mind.prepare(np.zeros((9, 1, 1), np.float32))
