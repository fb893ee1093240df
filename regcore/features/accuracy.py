"""How far a transform leaves landmarks from where they should be, in mm.

The same distance has two names. On the points that a transform was fitted to it is the fiducial registration
error (FRE), which says how well they fit, not how good the registration is; on points that took no part in
it, the target registration error (TRE), which does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regcore.errors import InputError
from regcore.landmarks import Landmarks
from regcore.space import Array
from regcore.transforms import Transform

if TYPE_CHECKING:
    import pandas


ERROR_COLUMNS = {
    "landmark": {"Description": "Name of the landmark, or its number from 1"},
    **{
        f"{axis}_mm": {"Description": f"Position of the fixed landmark along {axis}, RAS+", "Units": "mm"}
        for axis in "xyz"
    },
    "before_mm": {"Description": "Distance of the fixed from the moving landmark", "Units": "mm"},
    "error_mm": {"Description": "Distance of the mapped fixed from the moving landmark", "Units": "mm"},
    **{
        f"error_{axis}_mm": {
            "Description": f"Part of the error along {axis}, mapped minus moving",
            "Units": "mm",
        }
        for axis in "xyz"
    },
}


def registration_errors(fixed: Landmarks, moving: Landmarks, transform: Transform | None = None) -> Array:
    """Distance of every mapped fixed landmark from its moving one.

    Parameters
    ----------
    fixed, moving : Landmarks
        Of one size and order (see `regcore.landmarks.pair_landmarks`).
    transform : Transform, optional
        Fixed to moving world points; the identity by default.

    Returns
    -------
    array, shape (N,)
        mm: FRE where the transform was fitted to these landmarks, TRE where it was not.

    Raises
    ------
    InputError
        If the sets differ in size.

    References
    ----------
    Fitzpatrick, West & Maurer (1998), "Predicting error in rigid-body point-based registration", IEEE TMI
    17(5), doi:10.1109/42.736021.

    Examples
    --------
    >>> registration_errors(Landmarks(np.zeros((1, 3))), Landmarks(np.array([[3.0, 4.0, 0.0]])))
    array([5.])
    """
    return np.asarray(np.linalg.norm(_offsets(fixed, moving, transform), axis=1))


def error_table(fixed: Landmarks, moving: Landmarks, transform: Transform | None = None) -> pandas.DataFrame:
    """Errors landmark by landmark.

    Parameters
    ----------
    fixed, moving : Landmarks
        Of one size and order.
    transform : Transform, optional
        Fixed to moving world points; the identity by default.

    Returns
    -------
    DataFrame
        ``landmark`` (its name, or number from 1), ``x_mm, y_mm, z_mm`` of the fixed one, ``before_mm`` (the
        distance without the transform), ``error_mm`` (with it), and its parts ``error_x_mm, error_y_mm,
        error_z_mm`` (mapped minus moving); world RAS+.

    Raises
    ------
    InputError
        If the sets differ in size.

    Examples
    --------
    >>> first, second = Landmarks(np.zeros((1, 3)), ("tip",)), Landmarks(np.array([[3.0, 4.0, 0.0]]))
    >>> error_table(first, second)[["landmark", "before_mm", "error_mm", "error_y_mm"]].values.tolist()
    [['tip', 5.0, 5.0, -4.0]]
    """
    import pandas

    offsets = _offsets(fixed, moving, transform)
    table = pandas.DataFrame({"landmark": fixed.names or [str(n + 1) for n in range(len(fixed))]})
    for axis, values in zip("xyz", fixed.points.T, strict=True):
        table[f"{axis}_mm"] = values
    table["before_mm"] = registration_errors(fixed, moving)
    table["error_mm"] = np.linalg.norm(offsets, axis=1)
    for axis, values in zip("xyz", offsets.T, strict=True):
        table[f"error_{axis}_mm"] = values
    return table


def error_summary(table: pandas.DataFrame) -> pandas.DataFrame:
    """Errors of all landmarks in two rows, before and after.

    Parameters
    ----------
    table : DataFrame
        From `error_table`.

    Returns
    -------
    DataFrame
        ``stage`` (before, after), ``landmarks`` (how many), and of the error ``mean_mm, std_mm, rms_mm,
        median_mm, percentile95_mm, max_mm``. FRE is by custom the ``rms_mm``.

    Examples
    --------
    >>> moved = Landmarks(np.array([[3.0, 0, 0], [4.0, 0, 0]]))
    >>> error_summary(error_table(Landmarks(np.zeros((2, 3))), moved))["mean_mm"].tolist()
    [3.5, 3.5]
    """
    import pandas

    rows = []
    for stage, column in (("before", "before_mm"), ("after", "error_mm")):
        errors = table[column].to_numpy(np.float64)
        rows.append(
            {
                "stage": stage,
                "landmarks": len(errors),
                "mean_mm": errors.mean(),
                "std_mm": errors.std(),
                "rms_mm": float(np.sqrt((errors**2).mean())),
                "median_mm": float(np.median(errors)),
                "percentile95_mm": float(np.percentile(errors, 95)),
                "max_mm": errors.max(),
            }
        )
    return pandas.DataFrame(rows)


def _offsets(fixed: Landmarks, moving: Landmarks, transform: Transform | None) -> Array:
    if len(fixed) != len(moving):
        raise InputError(f"landmarks: expected as many moving as fixed, found {len(moving)} and {len(fixed)}")
    return (fixed.points if transform is None else transform(fixed.points)) - moving.points
