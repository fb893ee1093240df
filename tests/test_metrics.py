"""Gradients of the metrics against finite differences, and values against slow references."""

import numpy as np
import pytest

from regcore.metrics import lncc, mi, ncc, ssd


def images(seed: int = 0, shape: tuple[int, int, int] = (13, 12, 11)):
    rng = np.random.default_rng(seed)
    fixed = rng.random(shape).astype(np.float32)
    warped = (0.1 + 0.5 * fixed + 0.35 * rng.random(shape)).astype(np.float32)
    return fixed, warped, rng.random(shape).astype(np.float32), rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("metric", [lncc, mi, ncc, ssd], ids=lambda m: m.__name__.rsplit(".", 1)[-1])
@pytest.mark.parametrize("shape", [(13, 12, 11), (20, 17, 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_derivative_of_the_value(metric, shape, weighted):
    fixed, warped, weights, direction = images(shape=shape)
    weights = weights if weighted else None
    step = 2e-3
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
