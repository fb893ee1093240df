"""Tables of structures: volumes and Jacobians, a row a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image

if TYPE_CHECKING:
    import pandas

IDENTIFIERS = ("member", "participant_id", "session_id", "segmentation", "label", "structure")
VOLUMES = ("volume_mm3", "integrated_volume_mm3")
AGREEMENT = (
    "segmentation",
    "label",
    "structure",
    "members",
    *VOLUMES,
    "bias_percent",
    "spread_percent",
    "correlation",
)


def structure_volumes(
    labels: Image, names: Mapping[int, str] | None = None, intracranial: Image | float | None = None
) -> pandas.DataFrame:
    """Volume of every structure.

    Parameters
    ----------
    labels : Image
        Integer labels; 0 is background.
    names : mapping of int to str, optional
        Name of each label. Every label named gets a row, also where the map does not hold it; labels
        without a name are called ``label-<number>``.
    intracranial : Image or float, optional
        Mask, or volume in mm3, that volumes are divided by; all labels above 0 together by default.

    Returns
    -------
    DataFrame
        ``label, structure, volume_mm3, share_of_intracranial``.

    Raises
    ------
    InputError
        If labels are not integers, or the intracranial volume is not positive.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> data = np.array([0, 1, 1, 2], np.int32).reshape(4, 1, 1)
    >>> labels = Image(data, Grid(data.shape, np.diag([2.0, 1.0, 1.0, 1.0])))
    >>> structure_volumes(labels, {1: "left", 2: "right"})["volume_mm3"].tolist()
    [4.0, 2.0]
    """
    import pandas

    numbers, ranks = _ranked(labels, names)
    counts = np.bincount(ranks[ranks >= 0], minlength=len(numbers))
    volumes = counts * labels.grid.voxel_volume
    if intracranial is None:
        whole = float(volumes.sum())
    elif isinstance(intracranial, Image):
        whole = float(np.count_nonzero(intracranial.data > 0)) * intracranial.grid.voxel_volume
    else:
        whole = float(intracranial)
    if not (np.isfinite(whole) and whole > 0):
        raise InputError(f"intracranial: expected a volume above 0 mm3, found {whole:g}")
    return pandas.DataFrame(
        {
            "label": numbers,
            "structure": _named(numbers, names),
            "volume_mm3": volumes,
            "share_of_intracranial": volumes / whole,
        }
    )


def structure_jacobians(
    absolute: Image, relative: Image, labels: Image, names: Mapping[int, str] | None = None
) -> pandas.DataFrame:
    """Mean and standard deviation of the log-Jacobians within every structure, and its integrated volume.

    Parameters
    ----------
    absolute, relative : Image
        `log_jacobian` with and without the affine part, on the template's grid.
    labels : Image
        Integer labels of the template, on the same grid; 0 is background.
    names : mapping of int to str, optional
        As in `structure_volumes`.

    Returns
    -------
    DataFrame
        ``label, structure, voxels, absolute_mean, absolute_sd, relative_mean, relative_sd,
        integrated_volume_mm3``. The means are of the natural logarithm, above 0 where the subject is larger;
        NaN for a structure without voxels. The integrated volume is that of the structure in the subject: the
        integral of the Jacobian determinant over the template's label, mm3.

    Raises
    ------
    InputError
        If the grids differ, or labels are not integers.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((2, 1, 1), np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> twice = Image(np.full((2, 1, 1), np.log(2), np.float32), grid)
    >>> labels = Image(np.array([0, 3], np.int32).reshape(2, 1, 1), grid)
    >>> structure_jacobians(twice, twice, labels)["integrated_volume_mm3"].round(4).tolist()
    [4.0]
    """
    import pandas

    for image in (absolute, relative):
        if not image.grid.matches(labels.grid):
            raise InputError(
                f"log-Jacobian: expected the grid of the labels {labels.grid.shape}, found {image.grid.shape}"
            )
    numbers, ranks = _ranked(labels, names)
    inside = ranks >= 0
    ranks = ranks[inside]
    counts = np.bincount(ranks, minlength=len(numbers))
    columns: dict[str, object] = {
        "label": numbers,
        "structure": _named(numbers, names),
        "voxels": counts,
    }
    divisor = np.where(counts > 0, counts, np.nan)
    for kind, image in (("absolute", absolute), ("relative", relative)):
        values = image.data.ravel()[inside].astype(np.float64)
        mean = np.bincount(ranks, weights=values, minlength=len(numbers)) / divisor
        # deviations from the mean, not squares: no digits cancel
        squares = np.bincount(ranks, weights=(values - mean[ranks]) ** 2, minlength=len(numbers))
        columns[f"{kind}_mean"] = mean
        columns[f"{kind}_sd"] = np.sqrt(squares / divisor)
    grown = np.exp(absolute.data.ravel()[inside].astype(np.float64))
    integral = np.bincount(ranks, weights=grown, minlength=len(numbers))
    columns["integrated_volume_mm3"] = np.where(counts > 0, integral * labels.grid.voxel_volume, np.nan)
    return pandas.DataFrame(columns)


def volume_agreement(jacobians: pandas.DataFrame, volumes: pandas.DataFrame) -> pandas.DataFrame:
    """How well integrated Jacobians agree with the volumes of labels, structure by structure.

    Both measure the same structure of the same member, the one through the transform alone, the other on the
    member's own label map. A bias says that the template's label is larger or smaller than what it stands
    for; a low correlation, that the transforms do not follow the members.

    Parameters
    ----------
    jacobians, volumes : DataFrame
        A row a member and structure, with the same identifying columns, `integrated_volume_mm3` in one and
        `volume_mm3` in the other.

    Returns
    -------
    DataFrame
        ``segmentation, label, structure, members, volume_mm3, integrated_volume_mm3`` (means),
        ``bias_percent`` (integrated over label volume, geometric mean, less one), ``spread_percent``
        (standard deviation of the log ratio) and ``correlation`` (Pearson, over members; NaN with fewer than
        three, or where a volume does not vary).
    """
    import pandas

    if jacobians.empty or volumes.empty:
        return pandas.DataFrame(columns=list(AGREEMENT))
    keys = [name for name in IDENTIFIERS if name in jacobians and name in volumes]
    both = jacobians[[*keys, "integrated_volume_mm3"]].merge(volumes[[*keys, "volume_mm3"]], on=keys)
    both = both[(both["volume_mm3"] > 0) & (both["integrated_volume_mm3"] > 0)]
    rows = []
    for (kind, label, name), part in both.groupby(["segmentation", "label", "structure"], sort=False):
        volume, integral = (part[column].to_numpy(np.float64) for column in VOLUMES)
        ratio = np.log(integral / volume)
        varies = len(part) > 2 and np.ptp(volume) > 0 and np.ptp(integral) > 0
        rows.append(
            {
                "segmentation": kind,
                "label": label,
                "structure": name,
                "members": len(part),
                "volume_mm3": volume.mean(),
                "integrated_volume_mm3": integral.mean(),
                "bias_percent": 100 * np.expm1(ratio.mean()),
                "spread_percent": 100 * ratio.std(),
                "correlation": float(np.corrcoef(volume, integral)[0, 1]) if varies else np.nan,
            }
        )
    return pandas.DataFrame(rows, columns=list(AGREEMENT))


def structure_means(image: Image, labels: Image) -> dict[int, float]:
    """Mean of an image within every structure, by label.

    Parameters
    ----------
    image : Image
    labels : Image
        Integer labels on the same grid; 0 is background.

    Returns
    -------
    dict of int to float

    Raises
    ------
    InputError
        If the grids differ, or labels are not integers.

    Examples
    --------
    >>> from regcore.space import Grid
    >>> grid = Grid((4, 1, 1), np.eye(4))
    >>> labels = Image(np.array([0, 1, 1, 2], np.int32).reshape(4, 1, 1), grid)
    >>> structure_means(Image(np.array([9, 1, 2, 3], np.float32).reshape(4, 1, 1), grid), labels)
    {1: 1.5, 2: 3.0}
    """
    if not image.grid.matches(labels.grid):
        raise InputError(
            f"image: expected the grid of the labels {labels.grid.shape}, found {image.grid.shape}"
        )
    numbers, ranks = _ranked(labels, None)
    inside = ranks >= 0
    sums = np.bincount(ranks[inside], weights=image.data.ravel()[inside], minlength=len(numbers))
    means = sums / np.bincount(ranks[inside], minlength=len(numbers))
    return dict(zip(numbers.tolist(), means.tolist(), strict=True))


def _ranked(
    labels: Image, names: Mapping[int, str] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Labels above 0 in order, and the place of every voxel's label among them (-1 for background)."""
    if labels.data.dtype.kind not in "iub":
        raise InputError(f"labels: expected integers, found {labels.data.dtype}")
    values = labels.data.ravel().astype(np.int64)
    numbers = np.union1d(np.unique(values), np.array(sorted(names or {}), dtype=np.int64))
    numbers = numbers[numbers > 0]
    return numbers, np.where(values > 0, np.searchsorted(numbers, values), -1)


def _named(numbers: npt.NDArray[np.int64], names: Mapping[int, str] | None) -> list[str]:
    return [(names or {}).get(int(number), f"label-{number}") for number in numbers]
