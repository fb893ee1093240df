"""Kernels on displacement fields, against closed forms and slow NumPy references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter, map_coordinates

from regcore.errors import InputError
from regcore.kernels.compose import compose
from regcore.kernels.exponential import exponential
from regcore.kernels.fields import displacement_gradient
from regcore.kernels.invert import invert
from regcore.kernels.jacobian import jacobian_determinant
from regcore.kernels.layout import components, from_components
from regcore.kernels.parallel import set_threads
from regcore.kernels.sample import sample_force, sample_linear, sample_linear_gradient
from regcore.kernels.splat import splat_linear

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Function that sets the number of threads; the default comes back afterwards."""
    yield set_threads
    set_threads(0)


def indices(shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).astype(np.float64)


def smooth_field(seed: int, shape: tuple[int, ...] = (20, 22, 18), peak: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sigma = [4 if n > 1 else 0 for n in shape]
    field = np.stack([gaussian_filter(rng.normal(size=shape), sigma) for _ in range(3)], axis=-1)
    field[..., np.array(shape) == 1] = 0
    return (peak * field / np.abs(field).max()).astype(np.float32)


def linear_field(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Displacement of ``x -> matrix x`` about the middle."""
    offsets = indices(shape) - (np.array(shape) - 1) / 2
    return (offsets @ (matrix - np.eye(3)).T).astype(np.float32)


def composed_reference(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    where = indices(inner.shape[:3]) + inner
    read = [
        map_coordinates(outer[..., c], np.moveaxis(where, -1, 0), order=1, mode="nearest") for c in range(3)
    ]
    return inner + np.stack(read, axis=-1)


# sampling


def test_the_gradient_of_what_is_read_is_its_derivative_up_to_and_beyond_the_edge() -> None:
    image = np.random.default_rng(0).random((5, 6, 4), np.float32)
    step = 1e-3
    for start in (-0.4, -0.2, 0.3, 0.7):
        for axis in range(3):
            read = []
            for offset in (start - step, start + step):
                matrix = np.eye(4)
                matrix[:3, 3] = 0.35
                matrix[axis, 3] = offset
                read.append(sample_linear(image, matrix, shape=image.shape).astype(np.float64))
            matrix[axis, 3] = start
            gradient = sample_linear_gradient(image, matrix, shape=image.shape)[1]
            expected = (read[1] - read[0]) / (2 * step)
            np.testing.assert_allclose(gradient[..., axis], expected, atol=1e-3)


# inverse


@quick
@given(seeds, st.floats(0.2, 3.0))
def test_a_field_followed_after_its_inverse_is_the_identity(seed: int, peak: float) -> None:
    field = smooth_field(seed, peak=peak)
    inverse = invert(field)
    residual = np.linalg.norm(composed_reference(field, inverse), axis=-1)
    # where the field folds there is no inverse to find
    if jacobian_determinant(field).min() > 0.2:
        assert residual.max() < 2e-3


def test_inverse_of_a_linear_map_is_the_inverse_matrix() -> None:
    matrix = np.array([[1.1, 0.1, 0.0], [-0.1, 0.9, 0.05], [0.0, 0.1, 1.2]])
    shape = (25, 25, 25)
    inverse = invert(linear_field(matrix, shape), tolerance_vox=1e-4)
    middle = (slice(7, 18),) * 3
    np.testing.assert_allclose(inverse[middle], linear_field(np.linalg.inv(matrix), shape)[middle], atol=1e-3)


def test_inverse_of_a_shift_larger_than_the_grid_is_the_shift_back() -> None:
    field = np.full((6, 6, 6, 3), 10.0, np.float32)
    np.testing.assert_allclose(invert(field), -10.0)


def test_newton_converges_where_the_plain_fixed_point_does_not() -> None:
    field = linear_field(np.diag([2.5, 1.0, 1.0]), (41, 5, 5))
    inverse = invert(field)
    np.testing.assert_allclose(
        inverse[10:30], linear_field(np.diag([0.4, 1, 1]), (41, 5, 5))[10:30], atol=1e-3
    )


def test_inverse_of_a_folded_field_stays_finite_and_bounded() -> None:
    field = smooth_field(1, peak=25.0)
    assert jacobian_determinant(field).min() < 0
    inverse = invert(field)
    assert np.isfinite(inverse).all()
    assert np.abs(inverse).max() < 100


def test_inverse_leaves_a_single_slice_in_its_plane() -> None:
    field = smooth_field(2, (30, 30, 1))
    inverse = invert(field)
    assert not inverse[..., 2].any()
    assert np.abs(composed_reference(field, inverse)).max() < 2e-3


# Jacobian


@quick
@given(seeds)
def test_determinant_of_an_affine_map_is_exact_up_to_the_faces(seed: int) -> None:
    matrix = np.eye(3) + np.random.default_rng(seed).uniform(-0.4, 0.4, (3, 3))
    determinant = jacobian_determinant(linear_field(matrix, (5, 6, 7)))
    np.testing.assert_allclose(determinant, np.linalg.det(matrix), atol=2e-5)


def test_determinant_agrees_with_numpy_gradients() -> None:
    field = smooth_field(3)
    derivative = np.stack(np.gradient(field.astype(np.float64), axis=(0, 1, 2)), axis=-1)
    expected = np.linalg.det(derivative + np.eye(3))
    np.testing.assert_allclose(jacobian_determinant(field), expected, atol=1e-5)


def test_determinant_in_two_dimensions_is_the_change_of_area() -> None:
    matrix = np.array([[1.2, 0.1, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 1.0]])
    field = linear_field(matrix, (9, 9, 1))
    np.testing.assert_allclose(jacobian_determinant(field), 0.96, atol=1e-6)


def test_determinant_does_not_depend_on_the_order_of_the_axes() -> None:
    field = smooth_field(4)
    swapped = np.ascontiguousarray(field.transpose(2, 0, 1, 3)[..., [2, 0, 1]])
    np.testing.assert_allclose(
        jacobian_determinant(swapped), jacobian_determinant(field).transpose(2, 0, 1), atol=1e-6
    )


def test_a_composition_may_overwrite_its_inner_field() -> None:
    outer, inner = smooth_field(3), smooth_field(4, peak=1.0)
    expected = compose(outer, inner, 0.7)
    np.testing.assert_allclose(expected, composed_reference(outer, np.float32(0.7) * inner), atol=1e-5)
    step = from_components(components(inner).copy())
    assert compose(outer, step, 0.7, out=step) is not None
    np.testing.assert_array_equal(step, expected)


def test_the_force_is_that_of_the_stored_gradient() -> None:
    """With positions inside, beyond either edge, and turned axes."""
    rng = np.random.default_rng(9)
    image, slope = rng.random((12, 11, 10), np.float32), rng.standard_normal((14, 9, 11)).astype(np.float32)
    matrix = np.array([[0.9, 0.1, 0, -1], [-0.1, 1.2, 0.1, 0], [0, 0.1, 0.8, 1], [0, 0, 0, 1]])
    field = 2 * smooth_field(6, shape=slope.shape)
    gradient = sample_linear_gradient(image, matrix, field)[1]
    expected = displacement_gradient(slope, gradient, matrix)
    np.testing.assert_allclose(sample_force(image, matrix, field, slope), expected, atol=1e-5)


# exponential


def test_exponential_of_a_rotation_velocity_turns_by_its_angle() -> None:
    generator = np.array([[0, -0.5, 0], [0.5, 0, 0], [0, 0, 0.0]])
    shape = (41, 41, 5)
    velocity = linear_field(np.eye(3) + generator, shape)
    middle = (slice(12, 29), slice(12, 29), slice(None))
    np.testing.assert_allclose(
        exponential(velocity)[middle], linear_field(expm(generator), shape)[middle], atol=0.02
    )


@quick
@given(seeds)
def test_exponential_of_the_negative_velocity_is_the_inverse(seed: int) -> None:
    velocity = smooth_field(seed, peak=2.0)
    there, back = exponential(velocity), exponential(-velocity)
    middle = (slice(4, -4),) * 3
    assert np.linalg.norm(compose(there, back)[middle], axis=-1).mean() < 0.03
    assert jacobian_determinant(there).min() > 0


def test_exponential_adds_up_over_time() -> None:
    velocity = smooth_field(5)
    half = exponential(0.5 * velocity)
    assert np.abs(compose(half, half) - exponential(velocity)).max() < 0.02


def test_exponential_of_nothing_is_nothing() -> None:
    assert not exponential(np.zeros((4, 4, 4, 3), np.float32)).any()


# splatting


def random_map(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image, matrix, displacement and values that reach past every face of the image."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)[:3]
    matrix[:, :3] += rng.uniform(-0.2, 0.2, (3, 3))
    matrix[:, 3] = rng.uniform(-2, 2, 3)
    image = rng.normal(size=(7, 8, 6)).astype(np.float32)
    displacement = rng.normal(size=(9, 6, 7, 3)).astype(np.float32)
    values = rng.normal(size=(9, 6, 7)).astype(np.float32)
    return image, matrix, displacement, values


@quick
@given(seeds, st.booleans())
def test_splatting_is_the_transpose_of_sampling(seed: int, displaced: bool) -> None:
    image, matrix, displacement, values = random_map(seed)
    field = displacement if displaced else None
    sampled = sample_linear(image, matrix, field, values.shape).astype(np.float64)
    splatted = splat_linear(values, matrix, field, image.shape).astype(np.float64)
    assert (sampled * values).sum() == pytest.approx((image * splatted).sum(), rel=1e-4, abs=1e-3)


def test_splatting_agrees_with_a_loop() -> None:
    _, matrix, displacement, values = random_map(0)
    shape = np.array((7, 8, 6))
    expected = np.zeros(shape)
    for p in np.ndindex(values.shape):
        q = matrix @ [*(p + displacement[p].astype(np.float64)), 1]
        if (q < -0.5).any() or (q > shape - 0.5).any():
            continue
        q = np.clip(q, 0, shape - 1)
        low = np.minimum(q.astype(int), shape - 2)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(corner, q - low, 1 - (q - low)))
            expected[tuple(low + corner)] += weight * values[p]
    np.testing.assert_allclose(splat_linear(values, matrix, displacement, (7, 8, 6)), expected, atol=1e-4)


def test_splatting_inside_keeps_the_total() -> None:
    values = np.random.default_rng(0).uniform(size=(6, 6, 6)).astype(np.float32)
    shift = np.eye(4)
    shift[:3, 3] = [1.3, 2.6, 0.4]
    total = splat_linear(values, shift, None, (10, 10, 10)).sum()
    assert total == pytest.approx(values.sum(), rel=1e-5)


# all of them


@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_threads_changes_no_bit(threads: Callable[[int], None], count: int) -> None:
    field = smooth_field(6, (40, 20, 18))
    values = field[..., 0].copy()
    work: list[Callable[[], Any]] = [
        lambda: invert(field),
        lambda: jacobian_determinant(field),
        lambda: exponential(field),
        lambda: splat_linear(values, np.eye(4), field, values.shape),
    ]
    threads(1)
    expected = [function() for function in work]
    threads(count)
    for function, reference in zip(work, expected, strict=True):
        np.testing.assert_array_equal(function(), reference)


@pytest.mark.parametrize("function", [invert, jacobian_determinant, exponential])
def test_arrays_that_are_no_field_are_refused(function: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"expected shape \(X, Y, Z, 3\)"):
        function(np.zeros((4, 4, 4), np.float32))


def test_a_velocity_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        exponential(np.full((4, 4, 4, 3), np.nan, np.float32))
