"""Maps of several sessions added up on one grid, and how the sum is spread over structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.morphometry.jacobian import log_jacobian
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Transform

if TYPE_CHECKING:
    import pandas

KEPT = ("value", "amount")
SHARES_PERCENT = (98, 95, 50, 2)


def accumulate(
    maps: Sequence[Image], transforms: Sequence[Transform], grid: Grid, kept: str = "value"
) -> Image:
    """Sum of maps that lie in different spaces.

    Parameters
    ----------
    maps : sequence of Image
        Each on a grid of its own; 0 beyond it.
    transforms : sequence of Transform
        World mm of `grid` to world mm of each map.
    grid : Grid
        Where they are added up.
    kept : {"value", "amount"}
        ``value``: a point takes its value along (a dose, in Gy). ``amount``: a volume takes its integral
        along (an activity or energy per mm3), so that the value is multiplied by the Jacobian determinant.

    Returns
    -------
    Image
        float32 on `grid`, added up in float64 in the order given.

    Raises
    ------
    InputError
        If there is no map, the numbers differ, or `kept` is neither.

    References
    ----------
    Chetty, I. J. and Rosu-Bubulac, M. (2019), doi:10.1016/j.semradonc.2019.02.002.

    Examples
    --------
    >>> from regcore.transforms import identity
    >>> one = Image(np.ones((2, 2, 2), np.float32), Grid((2, 2, 2), np.eye(4)))
    >>> accumulate([one, one], [identity(), identity()], one.grid).data.max()
    np.float32(2.0)
    """
    if not maps or len(maps) != len(transforms):
        raise InputError(
            f"accumulate: expected a transform for each map, found {len(maps)} and {len(transforms)}"
        )
    if kept not in KEPT:
        raise InputError(f"accumulate: expected one of {', '.join(KEPT)}, found {kept!r}")
    total = np.zeros(grid.shape)
    for each, transform in zip(maps, transforms, strict=True):
        carried = resample(each, grid, transform).data.astype(np.float64)
        if kept == "amount":
            carried *= np.exp(log_jacobian(transform, grid).data)
        total += carried
    return Image(total.astype(np.float32), grid)


def value_summary(total: Image, labels: Image, names: Mapping[int, str] | None = None) -> pandas.DataFrame:
    """How the values of a map are spread over each structure.

    Parameters
    ----------
    total : Image
        Such as an accumulated dose.
    labels : Image
        Integer labels on the same grid; 0 is background.
    names : mapping of int to str, optional
        Name of each label.

    Returns
    -------
    DataFrame
        A row a label: ``label, structure, volume_mm3, mean, minimum, maximum``, and ``d98, d95, d50, d2``,
        the least value among the 98, 95, 50 and 2 % of the volume with the largest values.

    Raises
    ------
    InputError
        If the grids differ.

    References
    ----------
    ICRU Report 83 (2010), doi:10.1093/jicru/ndq002: D98 and D2 stand for minimum and maximum.

    Examples
    --------
    >>> grid = Grid((4, 1, 1), np.eye(4))
    >>> dose = Image(np.array([0, 1, 2, 3], np.float32).reshape(4, 1, 1), grid)
    >>> value_summary(dose, Image(np.ones((4, 1, 1), np.int32), grid))["mean"].item()
    1.5
    """
    import pandas

    rows = []
    for label, values in _by_structure(total, labels):
        row = {
            "label": label,
            "structure": (names or {}).get(label, f"label-{label}"),
            "volume_mm3": values.size * labels.grid.voxel_volume,
            "mean": values.mean(),
            "minimum": values.min(),
            "maximum": values.max(),
        }
        shares = np.percentile(values, [100 - share for share in SHARES_PERCENT])
        row |= {f"d{share}": value for share, value in zip(SHARES_PERCENT, shares, strict=True)}
        rows.append(row)
    columns = ["label", "structure", "volume_mm3", "mean", "minimum", "maximum"]
    return pandas.DataFrame(rows, columns=[*columns, *(f"d{share}" for share in SHARES_PERCENT)])


def volume_histogram(
    total: Image, labels: Image, names: Mapping[int, str] | None = None, step: float | None = None
) -> pandas.DataFrame:
    """Cumulative volume histogram of each structure: how much of it has at least a value.

    Parameters
    ----------
    total : Image
        Such as an accumulated dose.
    labels : Image
        Integer labels on the same grid; 0 is background.
    names : mapping of int to str, optional
        Name of each label.
    step : float, optional
        Distance between the values; a hundredth of the largest of the map if None.

    Returns
    -------
    DataFrame
        Rows ``label, structure, value, volume_mm3, volume_share``, from 0 to the first value that no voxel
        of any structure reaches.

    Raises
    ------
    InputError
        If the grids differ, or the step is not positive.

    Examples
    --------
    >>> grid = Grid((4, 1, 1), np.eye(4))
    >>> dose = Image(np.array([0, 1, 2, 3], np.float32).reshape(4, 1, 1), grid)
    >>> labels = Image(np.ones((4, 1, 1), np.int32), grid)
    >>> volume_histogram(dose, labels, step=1.0)["volume_share"].tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    import pandas

    structures = list(_by_structure(total, labels))
    largest = max((float(values.max()) for _, values in structures), default=0.0)
    if step is None:
        step = largest / 100 if largest > 0 else 1.0
    if not step > 0:
        raise InputError(f"histogram step: expected above 0, found {step:g}")
    bins = step * np.arange(int(np.floor(largest / step * (1 + 1e-9))) + 2)
    frames = []
    for label, values in structures:
        # the smallest shift keeps a value that equals a bin's edge in it
        above = values.size - np.searchsorted(np.sort(values), bins * (1 - 1e-9), side="left")
        frames.append(
            pandas.DataFrame(
                {
                    "label": label,
                    "structure": (names or {}).get(label, f"label-{label}"),
                    "value": bins,
                    "volume_mm3": above * labels.grid.voxel_volume,
                    "volume_share": above / values.size,
                }
            )
        )
    columns = ["label", "structure", "value", "volume_mm3", "volume_share"]
    return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=columns)


def _by_structure(total: Image, labels: Image) -> list[tuple[int, npt.NDArray[np.float64]]]:
    if not total.grid.matches(labels.grid):
        raise InputError(
            f"map: expected the grid of the labels {labels.grid.shape}, found {total.grid.shape}"
        )
    numbers = [int(number) for number in np.unique(labels.data) if number > 0]
    return [(number, total.data[labels.data == number].astype(np.float64)) for number in numbers]
