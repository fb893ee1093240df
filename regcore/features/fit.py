"""Fits of linear maps to pairs of points: closed-form least squares, and RANSAC around it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.features.settings import RansacSettings
from regcore.registration.settings import LINEAR_MODELS, _one_of
from regcore.space import Array
from regcore.transforms import Affine

AT_ONCE = 256
REFITS = 20
FLAT = 1e-6
LARGEST_STRETCH = 4.0
# so many maps may be expected to find as much agreement among pairs that are all wrong
MOST_FALSE_ALARMS = 0.01


class RobustFit(NamedTuple):
    """A linear map and the pairs that agree with it, a boolean array of shape (N,)."""

    affine: Affine
    inliers: npt.NDArray[np.bool_]


def sample_size(model: str, axes: int = 3) -> int:
    """Fewest pairs that determine a model in 2 or 3 dimensions.

    Examples
    --------
    >>> sample_size("rigid"), sample_size("affine"), sample_size("affine", axes=2)
    (3, 4, 3)
    """
    return {"translation": 1, "rigid": axes, "similarity": axes, "affine": axes + 1}[model]


def fit_linear(fixed: npt.ArrayLike, moving: npt.ArrayLike, model: str = "affine") -> Affine:
    """Linear map of least squared distance between mapped fixed points and moving points.

    Where all points of both sets lie in one plane (those of 2D images do), the map is that of the plane:
    it never flips it over, and leaves its normal alone.

    Parameters
    ----------
    fixed, moving : array, shape (N, 3)
        Corresponding points, world mm.
    model : {"translation", "rigid", "similarity", "affine"}

    Returns
    -------
    Affine
        Fixed to moving world points; rotations are proper.

    Raises
    ------
    InputError
        If there are too few pairs, or they lie on a line or in a plane where the model needs more.

    References
    ----------
    Kabsch (1976), doi:10.1107/S0567739476001873; Umeyama (1991), "Least-squares estimation of transformation
    parameters between two point patterns", IEEE TPAMI 13(4), doi:10.1109/34.88573.

    Examples
    --------
    >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> fit_linear(corners, 2 * corners + 1, "similarity").matrix.round(6)[0]
    array([2., 0., 0., 1.])
    """
    fixed, moving = _checked(fixed, moving, model)
    basis, origin = _common_space(fixed, moving)
    inside = (fixed - origin) @ basis
    _check_spread(inside, model)
    return _embedded(_least_squares(inside[None], ((moving - origin) @ basis)[None], model)[0], basis, origin)


def fit_robust(
    fixed: npt.ArrayLike,
    moving: npt.ArrayLike,
    model: str = "affine",
    settings: RansacSettings | None = None,
) -> RobustFit:
    """`fit_linear` that leaves out wrong pairs: random sample consensus.

    Smallest samples of pairs are drawn and fitted; the map with the least squared distances, each cut at the
    tolerance (MSAC), is refitted to the pairs that agree with it until these stay the same. Samples that
    mirror, or stretch more than fourfold, are not considered.

    Parameters
    ----------
    fixed, moving : array, shape (N, 3)
        Corresponding points, world mm.
    model : {"translation", "rigid", "similarity", "affine"}
    settings : RansacSettings, optional

    Returns
    -------
    RobustFit

    Raises
    ------
    InputError
        If there are too few pairs, or no map that more of them agree with than chance explains.

    References
    ----------
    Fischler & Bolles (1981), "Random sample consensus", Comm. ACM 24(6), doi:10.1145/358669.358692;
    Torr & Zisserman (2000), "MLESAC", CVIU 78(1), doi:10.1006/cviu.1999.0832; for the false alarms Moisan &
    Stival (2004), IJCV 57(3), doi:10.1023/B:VISI.0000013094.38752.54.

    Examples
    --------
    >>> points = np.random.default_rng(0).uniform(-50, 50, (40, 3))
    >>> moved = points + [1.0, 2.0, 3.0]
    >>> moved[:20] = np.random.default_rng(1).uniform(-50, 50, (20, 3))
    >>> fit = fit_robust(points, moved, "rigid")
    >>> int(fit.inliers.sum()), fit.affine.matrix[:3, 3].round(3)
    (20, array([1., 2., 3.]))
    """
    settings = settings or RansacSettings()
    fixed, moving = _checked(fixed, moving, model)
    basis, origin = _common_space(fixed, moving)
    first, second = (fixed - origin) @ basis, (moving - origin) @ basis
    size = sample_size(model, basis.shape[1])
    _check_spread(first, model)
    rng = np.random.default_rng(settings.seed)
    limit = settings.tolerance_mm**2
    best_cost, drawn, wanted = np.inf, 0, settings.iterations
    best: Array | None = None
    while drawn < wanted:
        count = min(AT_ONCE, wanted - drawn)
        chosen = rng.integers(0, len(first), (count, size))
        drawn += count
        chosen = chosen[(np.diff(np.sort(chosen, axis=1), axis=1) > 0).all(axis=1)]
        chosen = chosen[_spread_out(first[chosen], model)]
        matrices = _least_squares(first[chosen], second[chosen], model)
        matrices = matrices[_plausible(matrices)]
        if len(matrices) == 0:
            continue
        costs = np.minimum(_squared_distances(matrices, first, second), limit).sum(axis=1)
        if costs.min() < best_cost:
            best_cost, best = float(costs.min()), matrices[int(costs.argmin())]
            share = float((_squared_distances(best[None], first, second) <= limit).mean())
            wanted = min(settings.iterations, _draws(share, size, settings.confidence))
    inliers = np.zeros(len(first), bool)
    if best is not None:
        best, inliers = _refitted(best, first, second, model, limit)
    share = _chance(second, settings.tolerance_mm)
    if best is None or _false_alarms(len(first), int(inliers.sum()), size, share) > MOST_FALSE_ALARMS:
        raise InputError(
            f"landmarks: expected more pairs than by chance that agree on a map of model {model} within "
            f"{settings.tolerance_mm:g} mm, found {int(inliers.sum())} of {len(first)}"
        )
    return RobustFit(_embedded(best, basis, origin), inliers)


def _refitted(
    matrix: Array, fixed: Array, moving: Array, model: str, limit: float
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """A map fitted to the pairs that agree with it, again and again until these stay the same."""
    inliers = np.zeros(len(fixed), bool)
    for _ in range(REFITS):
        agree = _squared_distances(matrix[None], fixed, moving)[0] <= limit
        if (agree == inliers).all() or not _spread_out(fixed[agree][None], model)[0]:
            break
        inliers, matrix = agree, _least_squares(fixed[agree][None], moving[agree][None], model)[0]
    return matrix, inliers


def _draws(share: float, size: int, confidence: float) -> int:
    """Samples to draw so that one of them is without a wrong pair."""
    clean = min(max(share**size, 1e-12), 1 - 1e-12)
    return int(np.ceil(np.log(1 - confidence) / np.log1p(-clean))) if confidence > 0 else 1


def _chance(points: Array, tolerance_mm: float) -> float:
    """Probability that a wrong pair agrees: the tolerance's share of the space that the points fill."""
    # the half axes of an ellipsoid of this covariance, or of an ellipse
    axes = points.shape[1]
    half = np.sqrt((axes + 2) * np.maximum(np.linalg.eigvalsh(np.cov(points.T)), 0))
    return float(np.prod(np.minimum(tolerance_mm / np.maximum(half, 1e-12), 1)))


def _false_alarms(pairs: int, agreeing: int, size: int, chance: float) -> float:
    """Expected number of maps that as many of so many wrong pairs would agree on."""
    if agreeing < size:
        return math.inf
    ways = max(pairs - size, 1) * math.comb(pairs, agreeing) * math.comb(agreeing, size)
    return math.exp(min(math.log(ways) + (agreeing - size) * math.log(max(chance, 1e-300)), 700))


def _checked(fixed: npt.ArrayLike, moving: npt.ArrayLike, model: str) -> tuple[Array, Array]:
    _one_of("model", model, LINEAR_MODELS)
    first, second = np.asarray(fixed, np.float64), np.asarray(moving, np.float64)
    if first.ndim != 2 or first.shape[1:] != (3,) or first.shape != second.shape:
        raise InputError(
            f"landmarks: expected two sets of shape (N, 3), found {first.shape} and {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("landmarks: expected finite coordinates, found NaN or infinity")
    if len(first) == 0:
        raise InputError(f"landmarks: expected pairs to fit a map of model {model} to, found none")
    return first, second


def _common_space(fixed: Array, moving: Array) -> tuple[Array, Array]:
    """Orthonormal axes (3, D) and origin of what all points span: a plane (D = 2), or everything."""
    both = np.concatenate([fixed, moving])
    origin = both.mean(axis=0)
    values, axes = np.linalg.svd(both - origin, full_matrices=True)[1:]
    # two points, or a line of them, lie in many planes and determine none
    flat = values.size == 3 and values[2] <= FLAT * values[0]
    flat = flat and bool(np.linalg.matrix_rank(fixed - fixed.mean(axis=0), tol=FLAT * values[0]) == 2)
    return (axes[:2].T if flat else np.eye(3)), origin


def _least_rank(model: str, axes: int) -> int:
    return {"translation": 0, "rigid": axes - 1, "similarity": axes - 1, "affine": axes}[model]


def _spread_out(points: Array, model: str) -> npt.NDArray[np.bool_]:
    """Whether sets of points (B, N, D) span what a model needs."""
    rank = _least_rank(model, points.shape[2])
    if rank == 0:
        return np.ones(len(points), bool)
    if points.shape[1] < sample_size(model, points.shape[2]):
        return np.zeros(len(points), bool)
    values = np.linalg.svd(points - points.mean(axis=1, keepdims=True), compute_uv=False)
    return np.asarray(values[:, rank - 1] > 1e-3 * np.maximum(values[:, 0], 1e-12))


def _check_spread(points: Array, model: str) -> None:
    least = sample_size(model, points.shape[1])
    if len(points) < least:
        raise InputError(
            f"landmarks: expected at least {least} pairs for a map of model {model}, found {len(points)}"
        )
    if not _spread_out(points[None], model)[0]:
        shape = "a line" if points.shape[1] == 2 or model != "affine" else "a plane"
        raise InputError(
            f"landmarks: expected points that determine a {model} map, found all of them on {shape}"
        )


def _least_squares(fixed: Array, moving: Array, model: str) -> Array:
    """Maps (B, D, D + 1) of least squares for sets of pairs (B, N, D)."""
    axes = fixed.shape[2]
    fixed_mean, moving_mean = fixed.mean(axis=1), moving.mean(axis=1)
    first, second = fixed - fixed_mean[:, None], moving - moving_mean[:, None]
    linear = np.broadcast_to(np.eye(axes), (len(fixed), axes, axes))
    if model == "affine":
        linear = np.einsum("bni,bjn->bij", second, np.linalg.pinv(first))
    elif model != "translation":
        left, values, right = np.linalg.svd(np.einsum("bni,bnj->bij", second, first))
        proper = np.ones_like(values)
        proper[:, -1] = np.sign(np.linalg.det(left) * np.linalg.det(right))
        linear = np.einsum("bik,bk,bkj->bij", left, proper, right)
        if model == "similarity":
            size = np.einsum("bni,bni->b", first, first)
            linear = linear * ((values * proper).sum(axis=1) / np.maximum(size, 1e-30))[:, None, None]
    shift = moving_mean - np.einsum("bij,bj->bi", linear, fixed_mean)
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def _plausible(matrices: Array) -> npt.NDArray[np.bool_]:
    linear = matrices[:, :, :-1]
    stretch = np.linalg.svd(linear, compute_uv=False)
    within = (stretch[:, 0] <= LARGEST_STRETCH) & (stretch[:, -1] >= 1 / LARGEST_STRETCH)
    return np.asarray(within & (np.linalg.det(linear) > 0))


def _squared_distances(matrices: Array, fixed: Array, moving: Array) -> Array:
    """Squared distances (B, N) between mapped and moving points."""
    mapped = np.einsum("bij,nj->bni", matrices[:, :, :-1], fixed) + matrices[:, None, :, -1]
    return np.asarray(((mapped - moving) ** 2).sum(axis=2))


def _embedded(matrix: Array, basis: Array, origin: Array) -> Affine:
    """A map of coordinates along `basis` about `origin` as a map of the world."""
    linear, shift = matrix[:, :-1], matrix[:, -1]
    full = np.eye(4)
    full[:3, :3] += basis @ (linear - np.eye(len(linear))) @ basis.T
    full[:3, 3] = origin + basis @ shift - full[:3, :3] @ origin
    return Affine(full)
