"""Gradients of the metrics against finite differences, and values against slow references."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from regcore.errors import InputError
from regcore.image import Image
from regcore.kernels.layout import from_components
from regcore.kernels.parallel import set_threads
from regcore.metrics import ecc, lncc, mi, mind, ncc, nmi, sad, ssd
from regcore.registration import DeformableSettings
from regcore.registration.deformable import Buffers, _energy
from regcore.registration.similarity import Channel, similarity
from regcore.space import Grid
from regcore.transforms import Affine
from tests import reference_metrics


def images(seed: int = 0, shape: tuple[int, int, int] = (13, 12, 11)):
    rng = np.random.default_rng(seed)
    fixed = rng.random(shape).astype(np.float32)
    warped = (0.1 + 0.5 * fixed + 0.35 * rng.random(shape)).astype(np.float32)
    return fixed, warped, rng.random(shape).astype(np.float32), rng.standard_normal(shape).astype(np.float32)


def name_of(metric) -> str:
    return metric.__name__.rsplit(".", 1)[-1]


each_metric = pytest.mark.parametrize("metric", [ecc, lncc, mi, mind, ncc, nmi, sad, ssd], ids=name_of)


@each_metric
@pytest.mark.parametrize("shape", [(13, 12, 11), (20, 17, 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_is_the_derivative_of_the_value(metric, shape, weighted):
    fixed, warped, weights, direction = images(shape=shape)
    weights = weights if weighted else None
    # MIND is far from linear in noise
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


with_options = pytest.mark.parametrize(
    ("metric", "options"),
    [
        (ssd, {}),
        (sad, {}),
        (sad, {"epsilon": 0.2}),
        (ncc, {}),
        (lncc, {}),
        (lncc, {"radius": 3}),
        (mi, {}),
        (mi, {"bins": 16, "smooth_fixed": True}),
        (nmi, {}),
        (nmi, {"bins": 16, "smooth_fixed": True}),
        (ecc, {}),
        (ecc, {"bins": 16, "smooth_fixed": True}),
        (mind, {}),
        (mind, {"dilation": 2}),
    ],
    ids=lambda part: "-".join(map(str, part)) if isinstance(part, dict) else name_of(part),
)


def wide_images(shape, weighted: bool = True):
    """Noise in float32 that goes a little beyond [0, 1], and weights of which some are zero."""
    fixed, warped, weights, _ = images(11, shape)
    weights *= weights > 0.3
    return fixed, np.float32(1.2) * warped - np.float32(0.1), weights if weighted else np.ones_like(fixed)


def doubles(*arrays):
    return [array.astype(np.float64) for array in arrays]


def relative(found, expected) -> float:
    """Distance between two arrays as a share of the length of the second."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@with_options
@pytest.mark.parametrize("shape", [(7, 6, 5), (9, 8, 1)])
def test_reference_gradient_is_the_derivative_of_the_reference_value(metric, options, shape):
    reference = getattr(reference_metrics, name_of(metric))
    fixed, warped, weights = doubles(*wide_images(shape))
    gradient, step = reference(fixed, warped, weights, **options)[1], 1e-6
    for seed in range(3):
        # part of the way along the gradient, so that the derivative is not a small difference of large terms
        direction = np.random.default_rng(seed).standard_normal(shape) + gradient / gradient.std()
        up, down = (reference(fixed, warped + s * direction, weights, **options)[0] for s in (step, -step))
        assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * step), rel=1e-6)


@with_options
@pytest.mark.parametrize("shape", [(13, 12, 11), (20, 17, 1), (1, 17, 20)])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_agree_with_the_reference(metric, options, shape, weighted):
    fixed, warped, weights = wide_images(shape, weighted)
    value, gradient = metric.value_and_gradient(fixed, warped, weights if weighted else None, **options)
    reference = getattr(reference_metrics, name_of(metric))
    expected, slope = reference(*doubles(fixed, warped, weights), **options)
    # windows and patches are summed in float32, where small variances are differences of large numbers
    loose = metric in (lncc, mind)
    assert value == pytest.approx(expected, abs=1e-6 if loose else 1e-7)
    assert relative(gradient, slope) < (1e-5 if loose else 2e-7)
    assert np.abs(gradient - slope).max() < (2e-5 if loose else 5e-7) * np.abs(slope).max()


@each_metric
def test_force_on_a_displacement_is_the_derivative_of_the_reference(metric):
    """The whole chain of a deformable registration: sample, compare, turn slopes into forces."""
    fixed, moving, weights = wide_images((11, 10, 9))
    grid = Grid(fixed.shape, np.diag([1.1, 0.9, 1.3, 1.0]))
    # from voxels of the fixed to voxels well inside the moving image
    onto = np.array([[0.7, 0.1, 0, 1], [-0.1, 0.8, 0.1, 1], [0, 0.1, 0.6, 1.2], [0, 0, 0, 1]])
    matrix = grid.affine @ onto @ grid.inverse_affine
    rng = np.random.default_rng(12)
    field = from_components((0.3 * rng.standard_normal((3, *grid.shape))).clip(-0.8, 0.8).astype(np.float32))
    direction = rng.standard_normal(field.shape)
    reference = getattr(reference_metrics, name_of(metric))

    def value(displacement):
        points = np.indices(grid.shape) + np.moveaxis(displacement, -1, 0)
        places = np.tensordot(onto[:3, :3], points, 1) + onto[:3, 3].reshape(3, 1, 1, 1)
        warped = map_coordinates(moving.astype(float), places, order=1, mode="nearest")
        return reference(*doubles(fixed, warped, weights))[0]

    channel = Channel(Image(fixed, grid), Image(moving, grid), 0.7)
    buffers = Buffers.of(grid.shape, 1)
    measure = similarity(fixed, DeformableSettings(metric=name_of(metric)), scratch=buffers.extra)
    found = _energy([(channel, measure)], Affine(matrix), field, weights, buffers)
    force = buffers.force
    start, step = field.astype(float), 1e-7
    assert found == pytest.approx(0.7 * value(start), abs=2e-6)
    # part of the way along the force, so that the derivative is not a small difference of large terms
    direction += force / force.std()
    expected = 0.7 * (value(start + step * direction) - value(start - step * direction)) / (2 * step)
    assert float((force * direction).sum()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("metric", [lncc, mind, ncc, sad, ssd], ids=name_of)
def test_the_same_image_is_the_best_match_however_flat_parts_of_it_are(metric):
    fixed, warped, *_ = images(14, (20, 12, 11))
    fixed[8:] = 0.3 + 0.02 * fixed[8:]
    value, gradient = metric.value_and_gradient(fixed, fixed)
    assert value == pytest.approx(0, abs=1e-5)
    largest = np.abs(gradient).max()
    assert largest < 1e-3 * np.abs(metric.value_and_gradient(fixed, warped)[1]).max()


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


def test_with_windows_on_both_images_mutual_information_is_smooth_and_does_not_change_when_they_swap():
    fixed, warped, weights, direction = images(8, (9, 8, 7))
    value, gradient = mi.value_and_gradient(fixed, warped, weights, smooth_fixed=True)
    swapped, by_fixed = mi.value_and_gradient(warped, fixed, weights, smooth_fixed=True)
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


def test_sad_is_the_absolute_difference_but_for_epsilon():
    fixed, warped, weights, _ = images(10)
    expected = float((np.abs(warped - fixed) * weights).sum() / weights.sum())
    assert sad.value_and_gradient(fixed, warped, weights, epsilon=1e-4)[0] == pytest.approx(
        expected, abs=1e-4
    )
    value, gradient = sad.value_and_gradient(fixed, fixed)
    assert value == 0
    assert not gradient.any()


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


def test_local_correlation_may_write_its_gradient_over_the_image():
    """And one plane of weights stands for all."""
    fixed, warped, _, _ = images(13)
    everywhere = lncc.value_and_gradient(fixed, warped, np.ones_like(fixed))
    image = warped.copy()
    value, gradient = lncc.value_and_gradient(fixed, image, out=image)
    assert gradient is image
    assert value == everywhere[0]
    assert np.array_equal(gradient, everywhere[1])


def test_mind_refuses_a_line_of_voxels():
    with pytest.raises(InputError, match="two or three dimensions"):
        mind.prepare(np.zeros((9, 1, 1), np.float32))
