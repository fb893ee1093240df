"""How much a template owes to each of its members."""

from __future__ import annotations

import numpy as np

from regcore.errors import InputError
from regcore.groupwise.average import PartialSum, average
from regcore.groupwise.shape import mean_displacement, mean_log_stretch
from regcore.image import Image


def without(total: PartialSum, part: PartialSum) -> PartialSum:
    """Sums over a cohort without some of its members.

    Parameters
    ----------
    total : PartialSum
        Over the whole cohort.
    part : PartialSum
        Over the members to leave out, with the weights that they have in `total`.

    Returns
    -------
    PartialSum

    Raises
    ------
    InputError
        If the grids differ, or nothing would be left.

    Examples
    --------
    >>> from regcore.groupwise.average import partial_sum
    >>> from regcore.space import Grid
    >>> from regcore.transforms import identity
    >>> grid = Grid((2, 2, 2), np.eye(4))
    >>> images = [Image(np.full(grid.shape, value, np.float32), grid) for value in (1, 2, 6)]
    >>> total = partial_sum(images, None, [identity()] * 3)
    >>> average(without(total, partial_sum(images[2:], None, [identity()]))).data[0, 0, 0].item()
    1.5
    """
    if not part.grid.matches(total.grid):
        raise InputError(f"partial sums: expected the grid {total.grid.shape}, found {part.grid.shape}")
    if part.count >= total.count or part.total >= total.total:
        raise InputError(
            f"partial sums: expected members to be left, found {part.count} of {total.count} left out"
        )
    field = total.displacement
    if field is not None and part.displacement is not None:
        field = field - part.displacement
    return PartialSum(
        total.grid,
        total.image - part.image,
        total.square - part.square,
        np.maximum(total.weight - part.weight, 0.0),
        field,
        total.log_stretch - part.log_stretch,
        total.total - part.total,
        total.count - part.count,
    )


def leave_one_out(total: PartialSum, part: PartialSum, foreground: Image) -> dict[str, float]:
    """How far the template would be from what it is if one member had been left out.

    Nothing is registered again: the others keep their transforms, and their sums are the whole without the
    one. To first order in one over the number of members this is what a rebuild would change.

    Parameters
    ----------
    total : PartialSum
        Over the whole cohort.
    part : PartialSum
        Of the one member, with its weight in `total`.
    foreground : Image
        Where it is measured, on the template's grid.

    Returns
    -------
    dict
        ``rms_intensity_change``: RMS over the foreground of the change of the template's intensity;
        ``relative_intensity_change``: that over the template's RMS intensity;
        ``rms_displacement_change_mm``: RMS of the change of the mean displacement;
        ``rms_stretch_change_mm``: RMS of the displacement by the change of the mean log stretch, about the
        foreground's centre.

    Raises
    ------
    InputError
        If the foreground is empty or on another grid, or no other member is left.

    References
    ----------
    Cook, R. D. (1977), Detection of influential observation in linear regression,
    doi:10.1080/00401706.1977.10489493.
    """
    grid = total.grid
    if not foreground.grid.matches(grid) or not foreground.data.any():
        raise InputError(
            f"foreground: expected voxels above 0 on the grid {grid.shape}, "
            f"found {int(np.count_nonzero(foreground.data))} on {foreground.grid.shape}"
        )
    rest = without(total, part)
    inside = foreground.data > 0
    template = average(total).data[inside].astype(np.float64)
    # where the member was the only one to look, there is nothing to compare
    seen = rest.weight[inside] > 1e-3 * rest.total / rest.count
    change = (average(rest).data[inside] - template)[seen]
    moved = (mean_displacement(rest) - mean_displacement(total))[inside].astype(np.float64)
    points = grid.to_world(np.argwhere(inside))
    stretch = mean_log_stretch(rest) - mean_log_stretch(total)
    intensity = float(np.sqrt(np.mean(change**2))) if seen.any() else 0.0
    level = float(np.sqrt(np.mean(template**2)))
    return {
        "rms_intensity_change": intensity,
        "relative_intensity_change": intensity / level if level > 0 else 0.0,
        "rms_displacement_change_mm": _rms(moved @ grid.affine[:3, :3].T),
        "rms_stretch_change_mm": _rms((points - points.mean(axis=0)) @ stretch.T),
    }


def _rms(vectors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=-1))))
