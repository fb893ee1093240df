"""Regularisers against slow float64 references, finite differences and what they must leave free."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.kernels.parallel import set_threads
from regcore.regularisers import bending, diffusion, elastic, total_variation

Field = np.ndarray
MU, LAMBDA, EPSILON = 0.7, 1.3, 0.05


def forward(values: Field, axis: int) -> Field:
    """Forward differences, zero at the far face."""
    return np.diff(values, axis=axis, append=np.take(values, [-1], axis=axis))


def backward_sum(values: Field, axis: int) -> Field:
    """Transpose of `forward`."""
    kept = values.copy()
    np.moveaxis(kept, axis, 0)[-1] = 0
    return np.diff(kept, axis=axis, prepend=np.zeros_like(np.take(kept, [0], axis=axis))) * -1


def second(values: Field, axis: int) -> Field:
    """Second differences, zero at the faces."""
    out = np.zeros_like(values)
    if values.shape[axis] > 2:
        np.moveaxis(out, axis, 0)[1:-1] = np.moveaxis(np.diff(values, 2, axis=axis), axis, 0)
    return out


def second_sum(values: Field, axis: int) -> Field:
    """Transpose of `second`."""
    out, inner = np.zeros_like(values), np.moveaxis(values, axis, 0)[1:-1]
    if values.shape[axis] > 2:
        moved = np.moveaxis(out, axis, 0)
        moved[:-2] += inner
        moved[1:-1] -= 2 * inner
        moved[2:] += inner
    return out


def jacobian(field: Field, spacing: Field) -> Field:
    """Entry (c, a) is the derivative of component c, in mm, along axis a, in mm."""
    return np.array(
        [[forward(field[..., c] * spacing[c], a) / spacing[a] for a in range(3)] for c in range(3)]
    )


def divergence(stress: Field, spacing: Field) -> Field:
    """Derivative of ``sum(stress * jacobian(field))`` by the field."""
    parts = [sum(backward_sum(stress[c, a], a) * spacing[c] / spacing[a] for a in range(3)) for c in range(3)]
    return np.stack(parts, axis=-1)


def slow_diffusion(field: Field, spacing: Field) -> tuple[float, Field]:
    slope, count = jacobian(field, spacing), field.size / 3
    return 0.5 * float((slope**2).sum()) / count, divergence(slope, spacing) / count


def slow_elastic(field: Field, spacing: Field) -> tuple[float, Field]:
    slope, count = jacobian(field, spacing), field.size / 3
    strain = (slope + slope.swapaxes(0, 1)) / 2
    trace = np.trace(strain)
    stress = 2 * MU * strain + LAMBDA * np.eye(3)[..., None, None, None] * trace
    energy = MU * (strain**2).sum() + LAMBDA / 2 * (trace**2).sum()
    return float(energy) / count, divergence(stress, spacing) / count


def slow_total_variation(field: Field, spacing: Field) -> tuple[float, Field]:
    slope, count = jacobian(field, spacing), field.size / 3
    length = np.sqrt((slope**2).sum(axis=(0, 1)) + EPSILON**2)
    return float((length - EPSILON).sum()) / count, divergence(slope / length, spacing) / count


def slow_bending(field: Field, spacing: Field) -> tuple[float, Field]:
    energy, gradient, count = 0.0, np.zeros_like(field), field.size / 3
    for c in range(3):
        for a in range(3):
            for b in range(3):
                scale = spacing[c] / (spacing[a] * spacing[b])
                if a == b:
                    value = scale * second(field[..., c], a)
                    gradient[..., c] += 2 * scale * second_sum(value, a) / count
                else:
                    value = scale * forward(forward(field[..., c], a), b)
                    gradient[..., c] += 2 * scale * backward_sum(backward_sum(value, b), a) / count
                energy += float((value**2).sum()) / count
    return energy, gradient


Slow = Callable[[Field, Field], tuple[float, Field]]
PAIRS: dict[str, tuple[Callable[..., tuple[float, Field]], dict[str, float], Slow]] = {
    "diffusion": (diffusion.value_and_gradient, {}, slow_diffusion),
    "bending": (bending.value_and_gradient, {}, slow_bending),
    "elastic": (elastic.value_and_gradient, {"mu": MU, "lamb": LAMBDA}, slow_elastic),
    "total_variation": (total_variation.value_and_gradient, {"epsilon": EPSILON}, slow_total_variation),
}
SHAPES = [(19, 8, 9), (11, 12, 1), (1, 7, 8), (2, 3, 2), (1, 1, 1)]
SPACING = np.array([0.8, 1.5, 2.5])

each = pytest.mark.parametrize("name", PAIRS)


def random_field(shape: tuple[int, ...], seed: int = 0) -> Field:
    """A field of derivatives about one, on top of a shift that must not cost digits."""
    field = np.random.default_rng(seed).standard_normal((*shape, 3)) + 2.0
    return field.astype(np.float32).astype(np.float64)


@each
@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_agree_with_the_slow_reference(name: str, shape: tuple[int, ...]) -> None:
    fast, options, slow = PAIRS[name]
    field = random_field(shape)
    value, gradient = fast(field, SPACING, **options)
    expected, expected_gradient = slow(field, SPACING)
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-12)
    np.testing.assert_allclose(
        gradient, expected_gradient, atol=2e-5 * np.abs(expected_gradient).max() + 1e-12
    )


@each
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_gradient_is_the_derivative_of_the_value(name: str, shape: tuple[int, ...]) -> None:
    fast, options, slow = PAIRS[name]
    field, direction = random_field(shape), np.random.default_rng(1).standard_normal((*shape, 3))

    def slope(value: Callable[[Field], float], step: float) -> float:
        return (value(field + step * direction) - value(field - step * direction)) / (2 * step)

    reference = float((slow(field, SPACING)[1] * direction).sum())
    assert reference == pytest.approx(slope(lambda f: slow(f, SPACING)[0], 1e-5), rel=1e-4)
    single = float((fast(field, SPACING, **options)[1] * direction).sum())
    assert single == pytest.approx(slope(lambda f: fast(f, SPACING, **options)[0], 1e-2), rel=1e-2)


@each
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    fast, options, _ = PAIRS[name]
    field = random_field((37, 20, 18))
    results = []
    for threads in (1, 2, 3):
        set_threads(threads)
        results.append(fast(field, SPACING, **options))
    set_threads(0)
    for value, gradient in results[1:]:
        assert value == results[0][0]
        assert np.array_equal(gradient, results[0][1])


@each
def test_a_shift_costs_nothing(name: str) -> None:
    fast, options, _ = PAIRS[name]
    value, gradient = fast(np.full((6, 5, 4, 3), 3.7), SPACING, **options)
    assert value == pytest.approx(0, abs=1e-12)
    assert np.abs(gradient).max() < 1e-8


def affine_field(matrix: Field, shape: tuple[int, ...], spacing: Field) -> Field:
    """Displacement, in voxels, of ``x -> x + matrix x`` in mm."""
    points = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * spacing
    return points @ matrix.T / spacing


def test_bending_leaves_affine_maps_free() -> None:
    matrix = np.random.default_rng(2).uniform(-0.3, 0.3, (3, 3))
    assert bending.value_and_gradient(affine_field(matrix, (9, 8, 7), SPACING), SPACING)[0] < 1e-10


def test_elasticity_leaves_small_rotations_free() -> None:
    turn = np.array([[0, -0.1, 0.2], [0.1, 0, -0.3], [-0.2, 0.3, 0]])
    _, gradient = elastic.value_and_gradient(affine_field(turn, (9, 8, 7), SPACING), SPACING)
    # at the far faces a derivative is missing, and with it the turn
    assert np.abs(gradient[:-2, :-2, :-2]).max() < 1e-4 * np.abs(gradient).max()


@each
def test_the_value_does_not_depend_on_the_voxels(name: str) -> None:
    """The same warp in mm costs the same on a fine, a coarse and an anisotropic grid."""
    fast, options, _ = PAIRS[name]
    values = []
    for spacing in (np.array([1.0, 1.0, 1.0]), np.array([0.5, 1.0, 1.0]), np.array([1.0, 0.5, 2.0])):
        shape = tuple(np.rint(64 / spacing).astype(int))
        axes = [np.arange(n) * s for n, s in zip(shape, spacing, strict=True)]
        x, y, z = np.meshgrid(*axes, indexing="ij")
        waves = [np.sin(x / 7) * np.cos(y / 9), np.sin(y / 8 + 1) * np.cos(z / 11), np.sin((x + z) / 10)]
        values.append(fast(np.stack(waves, axis=-1) / spacing, spacing, **options)[0])
    np.testing.assert_allclose(values, values[0], rtol=0.08)


def test_total_variation_charges_a_jump_by_its_height_diffusion_by_its_square() -> None:
    def cost(function: Callable[..., tuple[float, Field]], height: float) -> float:
        field = np.zeros((16, 4, 4, 3))
        field[8:, ..., 1] = height
        return float(function(field, (1.0, 1.0, 1.0))[0])

    assert cost(total_variation.value_and_gradient, 4) < 2.01 * cost(total_variation.value_and_gradient, 2)
    assert cost(diffusion.value_and_gradient, 4) == pytest.approx(4 * cost(diffusion.value_and_gradient, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: diffusion.value_and_gradient(np.zeros((4, 4, 4)), (1, 1, 1)),
            r"expected shape \(X, Y, Z, 3\)",
        ),
        (lambda: bending.value_and_gradient(np.zeros((4, 4, 4, 3)), (1, 1)), "three positive numbers"),
        (lambda: elastic.value_and_gradient(np.zeros((4, 4, 4, 3)), (1, 1, 1), mu=0), "mu > 0"),
        (lambda: elastic.value_and_gradient(np.zeros((4, 4, 4, 3)), (1, 1, 1), lamb=-0.7), "3 lambda"),
        (lambda: total_variation.value_and_gradient(np.zeros((4, 4, 4, 3)), (1, 1, 1), 0.0), "epsilon"),
        (lambda: diffusion.value_and_gradient(np.zeros((4, 4, 4, 3)), (1, np.nan, 1)), "positive"),
    ],
)
def test_impossible_arguments_are_refused(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
