"""Maps fitted to pairs of points, against the truth, SciPy and SimpleITK; fields; errors in mm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from regcore.errors import InputError
from regcore.features import (
    RansacSettings,
    error_summary,
    error_table,
    fit_field,
    fit_linear,
    fit_robust,
    fit_transform,
    locally_consistent,
    registration_errors,
)
from regcore.kernels.jacobian import jacobian_determinant
from regcore.landmarks import Landmarks, pair_landmarks
from regcore.space import Grid
from regcore.transforms import Affine, Chain

MODELS = ["translation", "rigid", "similarity", "affine"]


def true_map(model: str, seed: int = 0) -> Affine:
    rng = np.random.default_rng(seed)
    wanted = {"translation": rng.uniform(-50, 50, 3)}
    if model != "translation":
        wanted["rotation"] = rng.uniform(-1.5, 1.5, 3)
    if model == "similarity":
        wanted["zooms"] = np.full(3, rng.uniform(0.5, 2))
    if model == "affine":
        wanted |= {"zooms": rng.uniform(0.6, 1.6, 3), "shears": rng.uniform(-0.2, 0.2, 3)}
    return Affine.from_parameters(**wanted)


def cloud(count: int, seed: int = 0, size_mm: float = 60.0) -> np.ndarray:
    middle = np.array([100.0, -40.0, 30.0])
    return middle + np.random.default_rng(seed).uniform(-size_mm, size_mm, (count, 3))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), model=st.sampled_from(MODELS), extra=st.integers(0, 20))
def test_exact_pairs_give_the_exact_map(seed: int, model: str, extra: int) -> None:
    truth, points = true_map(model, seed), cloud(4 + extra, seed)
    found = fit_linear(points, truth(points), model)
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-6)


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_noisy_pairs_give_the_map_of_simpleitk(model: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    truth, points = true_map(model, 3), cloud(12, 3)
    moved = truth(points) + np.random.default_rng(1).normal(0, 2, points.shape)
    theirs = {
        "rigid": sitk.VersorRigid3DTransform,
        "similarity": sitk.Similarity3DTransform,
        "affine": lambda: sitk.AffineTransform(3),
    }[model]()
    flip = np.array([-1.0, -1.0, 1.0])
    flat = [(points * flip).ravel().tolist(), (moved * flip).ravel().tolist()]
    theirs = sitk.LandmarkBasedTransformInitializer(theirs, *flat)
    mapped = np.array([theirs.TransformPoint(point.tolist()) for point in points * flip]) * flip
    ours = fit_linear(points, moved, model)(points)
    if model == "similarity":
        # ITK takes the scale from the ratio of the spreads (Horn), Umeyama the one of least squares
        assert ((ours - moved) ** 2).sum() <= ((mapped - moved) ** 2).sum()
        np.testing.assert_allclose(ours, mapped, atol=0.5)
    else:
        np.testing.assert_allclose(ours, mapped, atol=1e-4)


def test_rotation_is_that_of_scipy_and_never_mirrors() -> None:
    points = cloud(9, 5)
    for target in (cloud(9, 6), points * [1, 1, -1]):
        theirs = Rotation.align_vectors(target - target.mean(axis=0), points - points.mean(axis=0))[0]
        ours = fit_linear(points, target, "rigid").matrix[:3, :3]
        np.testing.assert_allclose(ours, theirs.as_matrix(), atol=1e-9)
        assert np.linalg.det(ours) == pytest.approx(1)


@pytest.mark.parametrize("model", MODELS)
def test_points_in_a_plane_move_in_it(model: str) -> None:
    turn = Rotation.from_euler("xyz", [20, -30, 10], degrees=True).as_matrix()
    flat = np.random.default_rng(0).uniform(-40, 40, (8, 2))
    angle, scale = (
        (0.0 if model == "translation" else 0.7),
        (1.3 if model in ("similarity", "affine") else 1.0),
    )
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if model == "affine":
        linear = linear @ [[1.0, 0.3], [0.0, 0.8]]

    def lift(points: np.ndarray) -> np.ndarray:
        return points @ turn[:, :2].T + [5.0, 6.0, 7.0]

    found = fit_linear(lift(flat), lift(flat @ linear.T + [3.0, -2.0]), model)
    others = np.random.default_rng(1).uniform(-40, 40, (5, 2))
    np.testing.assert_allclose(found(lift(others)), lift(others @ linear.T + [3.0, -2.0]), atol=1e-9)
    np.testing.assert_allclose(found.matrix[:3, :3] @ turn[:, 2], turn[:, 2], atol=1e-9)


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
@pytest.mark.parametrize("outliers", [0.5, 0.7])
def test_half_the_pairs_may_be_wrong(model: str, outliers: float) -> None:
    truth, points = true_map(model, 7), cloud(100, 7)
    rng = np.random.default_rng(2)
    moved = truth(points) + rng.normal(0, 0.3, points.shape)
    wrong = rng.permutation(100) < 100 * outliers
    moved[wrong] = truth(cloud(100, 8))[wrong]
    fit = fit_robust(points, moved, model, RansacSettings(tolerance_mm=2.0))
    assert np.linalg.norm(fit.affine(points) - truth(points), axis=1).max() < 0.6
    assert fit.inliers[~wrong].all()
    assert fit.inliers[wrong].sum() <= 2
    again = fit_robust(points, moved, model, RansacSettings(tolerance_mm=2.0))
    assert np.array_equal(again.affine.matrix, fit.affine.matrix)
    # least squares over all of them is useless
    assert np.linalg.norm(fit_linear(points, moved, model)(points) - truth(points), axis=1).mean() > 10


def test_one_slip_among_few_pairs_is_found() -> None:
    points = cloud(6, 1)
    moved = true_map("rigid", 1)(points)
    moved[2] += [0, 25, 0]
    fit = fit_robust(points, moved, "rigid", RansacSettings(tolerance_mm=1.0))
    assert np.flatnonzero(~fit.inliers).tolist() == [2]


@pytest.mark.parametrize(
    ("points", "model", "message"),
    [
        (cloud(2), "rigid", "at least 3 pairs for a map of model rigid, found 2"),
        (cloud(3), "affine", "at least 4 pairs for a map of model affine, found 3"),
        (np.arange(5.0)[:, None] * [1, 2, 3] + [[0, 0, 0]], "rigid", "on a line"),
        (np.ones((5, 3)), "affine", "expected points that determine"),
        (np.full((4, 3), np.nan), "affine", "finite"),
        (np.ones((4, 2)), "affine", "shape"),
        (np.ones((0, 3)), "affine", "found none"),
        (cloud(4), "elastic", "model: expected one of"),
    ],
)
def test_pairs_that_determine_nothing(points: np.ndarray, model: str, message: str) -> None:
    moved = points + 1.0
    for fit in (fit_linear, fit_robust):
        with pytest.raises(InputError, match=message):
            fit(points, moved, model)


def test_points_in_a_plane_that_leave_it_determine_no_affine() -> None:
    points = cloud(8)
    points[:, 2] = 0
    with pytest.raises(InputError, match="on a plane"):
        fit_linear(points, points + np.random.default_rng(0).normal(0, 1, points.shape), "affine")


def test_pairs_that_agree_on_nothing_or_cannot_tell() -> None:
    with pytest.raises(InputError, match="found 3 of 3"):
        fit_robust(cloud(3, 1), cloud(3, 1), "rigid")
    with pytest.raises(InputError, match=r"agree on a map of model affine within 0.5 mm, found \d+ of 60"):
        fit_robust(cloud(60, 1), cloud(60, 2), "affine", RansacSettings(tolerance_mm=0.5))


def wave(points: np.ndarray) -> np.ndarray:
    """A smooth displacement of up to 4 mm."""
    x, y, z = (points / 25).T
    return 2 * np.stack([np.sin(y) + np.cos(z), np.sin(x), np.cos(x + y)], axis=1)


GRID = Grid((30, 28, 26), np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.mark.parametrize("affine", [Affine(np.eye(4)), true_map("affine", 4)])
def test_a_field_passes_through_its_pairs_and_is_close_between_them(affine: Affine) -> None:
    rng = np.random.default_rng(0)
    points, between = (GRID.to_world(rng.uniform(2, 23, (n, 3))) for n in (150, 100))
    field = fit_field(points, affine(points + wave(points)), GRID, affine)
    mapped = Chain((affine, field))
    errors = np.linalg.norm(mapped(points) - affine(points + wave(points)), axis=1)
    assert errors.max() < 0.2
    errors = np.linalg.norm(mapped(between) - affine(between + wave(between)), axis=1)
    assert errors.mean() < 0.15 * np.linalg.norm(wave(between), axis=1).mean()
    assert (jacobian_determinant(field.field) > 0).all()


def test_a_field_evaluated_coarsely_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    points = GRID.to_world(np.random.default_rng(0).uniform(0, 25, (150, 3)))
    exact = fit_field(points, points + wave(points), GRID, Affine(np.eye(4)), smoothing=1.0)
    monkeypatch.setattr("regcore.features.field.EVALUATIONS", 4096 * 150)
    coarse = fit_field(points, points + wave(points), GRID, Affine(np.eye(4)), smoothing=1.0)
    assert not np.array_equal(coarse.field, exact.field)
    assert np.linalg.norm(coarse.to_world() - exact.to_world(), axis=-1).max() < 0.2


def test_smoothing_spares_a_field_the_noise_and_suits_every_size() -> None:
    rng = np.random.default_rng(3)
    points = GRID.to_world(rng.uniform(0, 25, (200, 3)))
    noisy = points + wave(points) + rng.normal(0, 1.0, points.shape)
    world = GRID.world_points().reshape(-1, 3)

    def error(smoothing: float) -> float:
        field = fit_field(points, noisy, GRID, Affine(np.eye(4)), smoothing)
        return float(np.linalg.norm(field(world) - world - wave(world), axis=1).mean())

    assert error(10.0) < 0.8 * error(0.0)
    small = Grid(GRID.shape, GRID.affine @ np.diag([0.1, 0.1, 0.1, 1.0]))
    large = fit_field(points, noisy, GRID, Affine(np.eye(4)), 10.0)
    tiny = fit_field(points / 10, noisy / 10, small, Affine(np.eye(4)), 10.0)
    np.testing.assert_allclose(tiny.field, large.field, atol=1e-3)


def test_a_field_of_a_slice_stays_in_its_plane() -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [20, -30, 10], degrees=True).as_matrix() * [1.0, 1.5, 4.0]
    slice_grid = Grid((40, 30, 1), affine)
    rng = np.random.default_rng(0)
    points = slice_grid.to_world(
        np.column_stack([rng.uniform(2, 37, 60), rng.uniform(2, 27, 60), np.zeros(60)])
    )
    normal = affine[:3, 2] / 4.0
    shift = wave(points) - np.outer(wave(points) @ normal, normal)
    fit = fit_transform(Landmarks(points), Landmarks(points + shift), "field", grid=slice_grid)
    assert np.abs((fit.transform(points) - points) @ normal).max() < 1e-5
    assert np.linalg.norm(fit.transform(points) - points - shift, axis=1).max() < 0.2


def test_a_field_that_would_fold_is_smoothed() -> None:
    points = np.array([[20.0, 20, 20], [26, 20, 20], [20, 40, 20], [40, 20, 30], [5, 5, 5], [50, 45, 40]])
    moved = points.copy()
    moved[[0, 1]] = points[[1, 0]]
    fit = fit_transform(Landmarks(points), Landmarks(moved), "field", grid=GRID)
    assert (jacobian_determinant(fit.transform.transforms[1].field) > 0).all()


def test_a_place_given_twice_takes_the_mean() -> None:
    points = GRID.to_world(np.random.default_rng(0).uniform(5, 20, (12, 3)))
    twice, moved = (
        np.concatenate([points, points[:1]]),
        np.concatenate([points, points[:1] + np.array([0, 0, 2.0])]),
    )
    field = fit_field(twice, moved, GRID, Affine(np.eye(4)))
    np.testing.assert_allclose(field(points[0]) - points[0], [0, 0, 1.0], atol=0.2)


def test_fields_need_points_in_space_and_a_grid() -> None:
    flat = cloud(9) * [1, 1, 0]
    with pytest.raises(InputError, match="do not lie in a plane"):
        fit_field(flat, flat + 1.0, GRID, Affine(np.eye(4)))
    with pytest.raises(InputError, match="grid"):
        fit_transform(Landmarks(cloud(9)), Landmarks(cloud(9)), "field")
    with pytest.raises(InputError, match="model"):
        fit_transform(Landmarks(cloud(9)), Landmarks(cloud(9)), "spline")


def test_pairs_that_move_unlike_their_neighbours_are_seen() -> None:
    points = cloud(200, 2)
    moves = wave(points)
    wrong = np.arange(0, 200, 10)
    moves[wrong] += np.random.default_rng(0).choice([-9.0, 9.0], (20, 3))
    kept = locally_consistent(points, moves)
    assert not kept[wrong].any()
    assert kept.sum() > 160
    assert locally_consistent(points[:3], moves[:3]).all()


def test_errors_are_distances_in_mm() -> None:
    truth = true_map("rigid", 2)
    targets = Landmarks(cloud(20, 9), tuple(f"t{n}" for n in range(20)))
    there = Landmarks(truth(targets.points) + np.array([3.0, 4.0, 0.0]), targets.names)
    np.testing.assert_allclose(registration_errors(targets, there, truth), 5.0)
    table = error_table(targets, there, truth)
    assert list(table["landmark"]) == list(targets.names)
    np.testing.assert_allclose(table[["error_x_mm", "error_y_mm", "error_z_mm"]], [[-3.0, -4.0, 0.0]] * 20)
    np.testing.assert_allclose(table["before_mm"], registration_errors(targets, there))
    summary = error_summary(table).set_index("stage")
    assert summary.loc["after", "rms_mm"] == pytest.approx(5.0)
    assert summary.loc["before", "mean_mm"] == pytest.approx(table["before_mm"].mean())
    assert summary.loc["after", "landmarks"] == 20
    with pytest.raises(InputError, match="as many moving as fixed"):
        registration_errors(targets, there.take([0, 1]))


def test_fiducial_error_is_what_the_noise_leaves() -> None:
    """The squared FRE of a rigid fit expects (1 - 2 / N) of the squared localisation error."""
    truth, values = true_map("rigid", 1), []
    for seed in range(200):
        points = cloud(10, seed)
        rng = np.random.default_rng(seed)
        moved = truth(points) + rng.normal(0, 1.0, points.shape)
        found = fit_linear(points, moved, "rigid")
        values.append((registration_errors(Landmarks(points), Landmarks(moved), found) ** 2).mean())
    assert np.mean(values) == pytest.approx((1 - 2 / 10) * 3.0, rel=0.05)


def test_names_pair_landmarks_and_else_their_order() -> None:
    first = Landmarks(np.eye(3), ("a", "b", "c"))
    second = Landmarks(np.diag([2.0, 3.0, 4.0]), ("c", "x", "a"))
    fixed, moving = pair_landmarks(first, second)
    assert fixed.names == moving.names == ("a", "c")
    assert moving.points.tolist() == [[0, 0, 4], [2, 0, 0]]
    nameless = Landmarks(np.eye(3))
    assert pair_landmarks(first, nameless)[1] is nameless
    with pytest.raises(InputError, match="as many moving as fixed"):
        pair_landmarks(first, nameless.take([0]))
    with pytest.raises(InputError, match="names that both sets have"):
        pair_landmarks(first, Landmarks(np.eye(3), ("d", "e", "f")))
    for bad in (np.zeros((0, 3)), np.zeros((2, 2)), np.array([[np.inf, 0, 0]])):
        with pytest.raises(InputError, match="landmarks: expected"):
            Landmarks(bad)
    with pytest.raises(InputError, match="names"):
        Landmarks(np.eye(3), ("a",))
