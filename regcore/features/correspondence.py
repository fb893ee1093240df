"""From two images, or two sets of landmarks, to a transform."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.features.descriptors import extract_features
from regcore.features.field import fit_field
from regcore.features.fit import fit_linear, fit_robust
from regcore.features.matching import locally_consistent, match
from regcore.features.settings import KeypointSettings, MatchSettings, RansacSettings
from regcore.image import Image
from regcore.landmarks import Landmarks
from regcore.registration.checks import check_images
from regcore.registration.folds import make_diffeomorphic
from regcore.space import Grid
from regcore.transforms import Chain, Displacement

MODELS = ("translation", "rigid", "similarity", "affine", "field")

TOLERANCE_VOX = 3.0
# pairs that a linear map misses by this many tolerances may still be a deformation
REACH_TOLERANCES = 3.0
# a keypoint is off its place by half a voxel
NOISE_TOLERANCES = 0.5 / TOLERANCE_VOX


class Correspondences(NamedTuple):
    """Landmarks found in two images, of one size and order; features of both and first matches counted."""

    fixed: Landmarks
    moving: Landmarks
    features: tuple[int, int]
    matches: int


class LandmarkFit(NamedTuple):
    """A fixed-to-moving transform, and the pairs it was fitted to, a boolean array of shape (N,)."""

    transform: Chain
    used: npt.NDArray[np.bool_]


def default_tolerance(grid: Grid) -> float:
    """Distance within which a pair of keypoints agrees with a linear map: three mean voxel sizes, mm.

    Examples
    --------
    >>> default_tolerance(Grid((8, 8, 1), np.diag([2.0, 2.0, 9.0, 1.0])))
    6.0
    """
    wide = np.array(grid.shape) > 1
    return TOLERANCE_VOX * float(np.exp(np.log(grid.spacing[wide]).mean()))


def find_correspondences(
    fixed: Image,
    moving: Image,
    keypoints: KeypointSettings | None = None,
    matching: MatchSettings | None = None,
    ransac: RansacSettings | None = None,
    model: str = "affine",
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
) -> Correspondences:
    """Places that two images have in common.

    Keypoints are matched by their descriptors wherever they lie; a robust linear map of these matches says
    where to look; there they are matched once more, which finds several times as many, and those that do
    not move as their neighbours do are dropped.

    Parameters
    ----------
    fixed, moving : Image
        Any intensity scales, the same contrast; both 2D or both 3D.
    keypoints, matching, ransac : settings, optional
        The robust map's tolerance is `default_tolerance` of the fixed image where `ransac` is not given.
    model : {"translation", "rigid", "similarity", "affine"}
        Of the robust map.
    fixed_mask, moving_mask : Image, optional
        On the grids of their images; only keypoints inside count.

    Returns
    -------
    Correspondences
        The most distinct match first.

    Raises
    ------
    InputError
        If an image cannot be used, or no more matches agree than chance explains.

    Examples
    --------
    >>> from regcore.kernels.smooth import gaussian_smooth
    >>> noise = gaussian_smooth(np.random.default_rng(0).random((48, 48, 48), np.float32), 1.5)
    >>> whole = Image(noise, Grid((48, 48, 48), np.eye(4)))
    >>> part = Image(noise[:40], whole.grid.crop((0, 0, 0), (40, 48, 48)))
    >>> found = find_correspondences(part, whole, model="rigid")
    >>> bool(np.median(np.abs(found.fixed.points - found.moving.points)) < 0.1)
    True
    """
    check_images(fixed, moving, fixed_mask, moving_mask)
    ransac = ransac or RansacSettings(tolerance_mm=default_tolerance(fixed.grid))
    first = extract_features(fixed, keypoints, fixed_mask)
    second = extract_features(moving, keypoints, moving_mask)
    start = match(first, second, matching)
    points, targets = first.keypoints.points, second.keypoints.points
    guide = fit_robust(points[start.fixed], targets[start.moving], model, ransac).affine
    found = match(first, second, matching, guide, REACH_TOLERANCES * ransac.tolerance_mm)
    here, there = points[found.fixed], targets[found.moving]
    kept = locally_consistent(
        here, guide.inverse()(there) - here, noise_mm=NOISE_TOLERANCES * ransac.tolerance_mm
    )
    names = tuple(f"match-{number:04d}" for number in range(1, int(kept.sum()) + 1))
    return Correspondences(
        Landmarks(here[kept], names),
        Landmarks(there[kept], names),
        (len(first), len(second)),
        len(start.fixed),
    )


def fit_transform(
    fixed: Landmarks,
    moving: Landmarks,
    model: str = "affine",
    *,
    grid: Grid | None = None,
    ransac: RansacSettings | None = None,
    smoothing: float = 0.0,
) -> LandmarkFit:
    """Transform that brings fixed landmarks to moving ones.

    Parameters
    ----------
    fixed, moving : Landmarks
        Of one size and order (see `regcore.landmarks.pair_landmarks`).
    model : {"translation", "rigid", "similarity", "affine", "field"}
        "field" is an affine and a thin-plate spline, smoothed where it would fold.
    grid : Grid, optional
        Where the field lies; needed for "field" alone.
    ransac : RansacSettings, optional
        Leave out pairs that the linear map misses by more than its tolerance; without it all are used.
    smoothing : float
        Of the field (see `fit_field`).

    Returns
    -------
    LandmarkFit

    Raises
    ------
    InputError
        If there are too few pairs for the model, or too few that agree.

    Examples
    --------
    >>> points = np.random.default_rng(0).uniform(0, 9, (8, 3))
    >>> fit = fit_transform(Landmarks(points), Landmarks(points + 2), "rigid")
    >>> fit.transform([0.0, 0.0, 0.0]).round(6)
    array([2., 2., 2.])
    """
    if model not in MODELS:
        raise InputError(f"model: expected one of {', '.join(MODELS)}, found {model!r}")
    if len(fixed) != len(moving):
        raise InputError(f"landmarks: expected as many moving as fixed, found {len(moving)} and {len(fixed)}")
    linear = "affine" if model == "field" else model
    used = np.ones(len(fixed), bool)
    if ransac is None:
        affine = fit_linear(fixed.points, moving.points, linear)
    else:
        affine, used = fit_robust(fixed.points, moving.points, linear, ransac)
    if model != "field":
        return LandmarkFit(Chain((affine,)), used)
    if grid is None:
        raise InputError("model 'field': expected the grid of an image for the field to lie on, found none")
    field = fit_field(fixed.points[used], moving.points[used], grid, affine, smoothing)
    unfolded = Displacement(make_diffeomorphic(field.field)[0], grid)
    return LandmarkFit(Chain((affine, unfolded)), used)
