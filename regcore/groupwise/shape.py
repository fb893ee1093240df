"""The shape update: what moves a template to the middle of its cohort."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.groupwise.average import PartialSum
from regcore.kernels.invert import invert
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, Transform, exp_affine, peel, split

Array = npt.NDArray[np.float64]
DRIFT_GAIN = np.float32(2.0)
"""Share of the mean displacement added to the drift: a step that is partly undone by the image forces."""


def mean_log_stretch(partial: PartialSum) -> Array:
    """Mean log affine of the members without its rigid part, in template space, shape (3, 3)."""
    if not partial.total > 0:
        raise InputError(f"partial sum: expected a positive total weight, found {partial.total:g}")
    return np.asarray(partial.log_stretch / partial.total)


def mean_displacement(partial: PartialSum) -> npt.NDArray[np.float32]:
    """Mean displacement of the members, shape (X, Y, Z, 3), voxels of the template's grid."""
    if partial.displacement is None:
        return np.zeros((*partial.grid.shape, 3), np.float32)
    return (partial.displacement / np.float32(partial.total)).astype(np.float32)


def drift(
    partial: PartialSum, before: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32] | None:
    """What the members' next registrations must take out of their steps for the shape update to vanish.

    A registration to a blurred average has a direction of its own: all members move alike, and the shape
    update brings them back, again and again. The template sought is the best one whose mean displacement is
    zero; this field is the multiplier of that constraint, and it grows by the mean displacement that is left
    in every iteration (method of multipliers, Hestenes 1969, doi:10.1007/BF00927673).

    Parameters
    ----------
    partial : PartialSum
        Sums over the whole cohort, before the shape update.
    before : float32 array, shape (X, Y, Z, 3), optional
        The field of the iteration before, of the same stage.

    Returns
    -------
    float32 array, shape (X, Y, Z, 3), or None
        Voxels of the template's grid; None where no member has a displacement.
    """
    if partial.displacement is None:
        return before
    step = DRIFT_GAIN * mean_displacement(partial)
    return step if before is None else before + step


def shape_update(partial: PartialSum, step: float = 1.0, centre: npt.ArrayLike | None = None) -> Chain:
    """Transform from the next template's space to the present one's that takes out the cohort's mean shape.

    A member maps by ``A_i(x + u_i(x))``. With S the exponential of the mean log stretch and V the inverse of
    the mean displacement, the update is ``V o S^-1``: afterwards affines are ``A_i S^-1`` and displacements
    ``S (id + u_i) V S^-1``, and both means vanish. V inverts ``id + mean(u_i)`` itself rather
    than its first order ``exp(-mean(u_i))``, so one full step leaves no mean displacement behind.

    Parameters
    ----------
    partial : PartialSum
        Sums over the whole cohort.
    step : float
        Share of the mean that is taken out, 0 < step <= 1.
    centre : array, shape (3,), optional
        World point (mm) that the affine part leaves in place; the middle of the grid by default.

    Returns
    -------
    Chain
        ``(Affine, Displacement)`` on the template's grid. The average moves to its new shape by
        ``resample(average, grid, update)``; members' transforms by `update_transform`.

    Raises
    ------
    InputError
        If `step` is out of range.

    References
    ----------
    Guimond, A. et al. (2000), doi:10.1006/cviu.1999.0815; Arsigny, V. et al. (2006), doi:10.1002/mrm.20965.

    Examples
    --------
    >>> from regcore.groupwise.average import partial_sum
    >>> from regcore.image import Image
    >>> image = Image(np.ones((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))
    >>> double = Affine(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> np.round(shape_update(partial_sum([image], None, [double])).transforms[0].matrix[0, 0], 6)
    np.float64(0.5)
    """
    if not 0.0 < step <= 1.0:
        raise InputError(f"step: expected above 0 and at most 1, found {step:g}")
    grid = partial.grid
    pivot = grid.centre if centre is None else np.asarray(centre, dtype=np.float64)
    logarithm = np.zeros((4, 4))
    logarithm[:3, :3] = -step * mean_log_stretch(partial)
    flat = np.array(grid.shape) == 1
    if flat.any():  # a slice neither stretches nor shears along its normal
        normal = grid.affine[:3, :3][:, flat] / grid.spacing[flat]
        inside = np.eye(3) - normal @ normal.T
        logarithm[:3, :3] = inside @ logarithm[:3, :3] @ inside
    matrix = exp_affine(logarithm)
    matrix[:3, 3] = pivot - matrix[:3, :3] @ pivot
    shrink = Affine(matrix)
    if partial.displacement is None:
        return Chain((shrink,))
    back = Displacement(invert(np.float32(step) * mean_displacement(partial)), grid)
    # V o S^-1 written as S^-1 o V', the form that resamples fastest and that ITK files hold
    return Chain(split(Chain((back, shrink)), grid, affine=shrink))


def update_transform(transform: Transform, update: Chain, grid: Grid) -> Chain:
    """A member's transform after a shape update: ``transform o update`` as ``(Affine, Displacement)``.

    The affine is the product of both affines, so that it never has to be estimated again.

    Parameters
    ----------
    transform : Transform
        Present template space to the member's, an affine applied last.
    update : Chain
        From `shape_update`.
    grid : Grid
        Grid of the template.

    Returns
    -------
    Chain
        ``(Affine, Displacement)``, or ``(Affine,)`` where neither has a displacement.
    """
    outer, rest = peel(transform)
    shrink, back = peel(update)
    if not rest.transforms and not back.transforms:
        return Chain((outer @ shrink,))
    return Chain(split(Chain((transform, update)), grid, affine=outer @ shrink))
