"""How unlike the left and the right of a structure are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from regcore.sides import SidePair

if TYPE_CHECKING:
    import pandas


def asymmetry_index(left: npt.ArrayLike, right: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Difference of two sizes over their mean, ``2 (L - R) / (L + R)``: between -2 and 2, 0 where they agree.

    Parameters
    ----------
    left, right : array
        Sizes, at least 0, of one unit.

    Returns
    -------
    array
        Above 0 where the left is larger; NaN where both are 0.

    References
    ----------
    Galaburda, A. M. et al. (1987), doi:10.1016/0028-3932(87)90045-7.

    Examples
    --------
    >>> asymmetry_index([3.0, 1.0], [1.0, 1.0])
    array([1., 0.])
    """
    larger, smaller = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    both = larger + smaller
    return np.asarray(2 * (larger - smaller) / np.where(both > 0, both, np.nan))


def log_asymmetry_index(left: npt.ArrayLike, right: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """`asymmetry_index` of two sizes whose logarithms are given, ``2 tanh((l - r) / 2)``.

    Examples
    --------
    >>> log_asymmetry_index(np.log(3.0), np.log(1.0)).round(6)
    np.float64(1.0)
    """
    return np.asarray(2 * np.tanh((np.asarray(left, np.float64) - np.asarray(right, np.float64)) / 2))


def asymmetry_table(
    volumes: pandas.DataFrame,
    jacobians: pandas.DataFrame | None,
    pairs: Mapping[str, Sequence[SidePair]],
) -> pandas.DataFrame:
    """Asymmetry of every paired structure of every member.

    Parameters
    ----------
    volumes : DataFrame
        A row a member, segmentation and label: `member`, `segmentation`, `label`, `volume_mm3`.
    jacobians : DataFrame or None
        The same rows with `absolute_mean`, the mean log-Jacobian over the structure.
    pairs : mapping of str to sequence of SidePair
        Segmentation to its pairs.

    Returns
    -------
    DataFrame
        ``member, segmentation, structure, left_label, right_label, left_volume_mm3, right_volume_mm3,
        asymmetry_volume`` and, with `jacobians`, ``asymmetry_jacobian``; above 0 where the left is larger.
        The latter is relative to the template, and the subject's own where the template is symmetric.
    """
    import pandas

    sizes = volumes.set_index(["member", "segmentation", "label"])["volume_mm3"].to_dict()
    logs = (
        {}
        if jacobians is None
        else jacobians.set_index(["member", "segmentation", "label"])["absolute_mean"].to_dict()
    )
    rows = []
    for member, segmentation in dict.fromkeys(zip(volumes["member"], volumes["segmentation"], strict=True)):
        for pair in pairs.get(segmentation, ()):
            keys = [(member, segmentation, label) for label in (pair.left, pair.right)]
            if not all(key in sizes for key in keys):
                continue
            left, right = (sizes[key] for key in keys)
            row = {
                "member": member,
                "segmentation": segmentation,
                "structure": pair.structure,
                "left_label": pair.left,
                "right_label": pair.right,
                "left_volume_mm3": left,
                "right_volume_mm3": right,
                "asymmetry_volume": float(asymmetry_index(left, right)),
            }
            if jacobians is not None:
                there, here = (logs.get(key, np.nan) for key in keys)
                row["asymmetry_jacobian"] = float(log_asymmetry_index(there, here))
            rows.append(row)
    columns = ["member", "segmentation", "structure", "left_label", "right_label"]
    columns += ["left_volume_mm3", "right_volume_mm3", "asymmetry_volume"]
    columns += [] if jacobians is None else ["asymmetry_jacobian"]
    return pandas.DataFrame(rows, columns=columns)
