"""Robust outlier scores: how far a value lies from the cohort's median, in robust standard deviations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

THRESHOLD = 3.5


@dataclass(frozen=True)
class Measure:
    """A measure of which one side is bad.

    Parameters
    ----------
    side : {"low", "high", "both"}
        Side on which a value is bad.
    least_spread : float
        Smallest standard deviation that a score is counted in, in the unit of the measure: differences
        that mean nothing are no outliers, however alike the other members are.
    words : str
        What it is, for people.
    """

    side: str
    least_spread: float = 0.0
    words: str = ""

    def badness(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Signed robust scores as distances on the bad side, 0 on the other and where there is none."""
        signed = np.nan_to_num(scores)
        return np.maximum({"low": -signed, "high": signed}.get(self.side, np.abs(signed)), 0.0)


def robust_scores(values: npt.ArrayLike, least_spread: float = 0.0) -> npt.NDArray[np.float64]:
    """Distance of every value from the median, in robust standard deviations.

    The scale is 1.4826 times the median absolute deviation (MAD), which is the standard deviation where the
    values are normal. Where more than half of the values are equal the MAD is zero; the mean absolute
    deviation times 1.2533 then takes its place, so that one value apart from many equal ones is still found.

    Parameters
    ----------
    values : array, shape (N,)
        Any unit; NaN and infinity are left out of the median and the scale.
    least_spread : float
        Smallest scale, same unit, for measures whose unit says what difference means something; it then takes
        the place of the mean absolute deviation too.

    Returns
    -------
    array, shape (N,)
        Signed scores; NaN where the value is not finite, zero where fewer than three values are finite.

    References
    ----------
    Iglewicz B, Hoaglin DC. How to Detect and Handle Outliers. ASQC Quality Press, 1993.
    Leys C et al. doi:10.1016/j.jesp.2013.03.013

    Examples
    --------
    >>> robust_scores([1.0, 2.0, 3.0, 4.0, 100.0]).round(2)
    array([-1.35, -0.67,  0.  ,  0.67, 65.43])
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    finite = np.isfinite(array)
    scores = np.full(array.shape, np.nan)
    kept = array[finite]
    if kept.size < 3:
        scores[finite] = 0.0
        return scores
    deviation = kept - np.median(kept)
    size = np.abs(deviation)
    scale = max(1.4826 * float(np.median(size)), 0.0)
    # rounding noise around a constant is no spread
    noise = 1e-9 * max(float(np.abs(kept).max()), 1e-300)
    if least_spread > 0:
        scale = max(scale, least_spread)
    elif scale <= noise:
        scale = 1.2533 * float(size.mean())
    scores[finite] = 0.0 if scale <= noise else deviation / scale
    return scores


def member_keys(frame: pd.DataFrame) -> pd.Series[str]:
    """Key of every row's member: ``sub-01`` or ``sub-01_ses-02``.

    Parameters
    ----------
    frame : DataFrame
        With a column `key` or `member`, or `participant_id` and, where there are sessions, `session_id`.

    Examples
    --------
    >>> member_keys(pd.DataFrame({"participant_id": ["01", "sub-02"], "session_id": ["a", None]})).tolist()
    ['sub-01_ses-a', 'sub-02']
    """
    for column in ("key", "member"):
        if column in frame:
            return frame[column].astype(str)
    if "participant_id" not in frame:
        return pd.Series([str(index) for index in frame.index], index=frame.index, dtype=object)
    keys = []
    sessions = frame["session_id"] if "session_id" in frame else [None] * len(frame)
    for participant, session in zip(frame["participant_id"], sessions, strict=True):
        key = "sub-" + str(participant).removeprefix("sub-")
        if session is not None and not pd.isna(session) and str(session) not in ("", "n/a"):
            key += "_ses-" + str(session).removeprefix("ses-")
        keys.append(key)
    return pd.Series(keys, index=frame.index, dtype=object)


def measure_outliers(
    frame: pd.DataFrame, measures: Mapping[str, Measure], threshold: float = THRESHOLD
) -> pd.DataFrame:
    """Members whose measures lie far from the cohort, one row a member and measure.

    Parameters
    ----------
    frame : DataFrame
        A row a member (see `member_keys`), a column a measure.
    measures : mapping
        Column to its `Measure`; columns that `frame` does not have are passed over.
    threshold : float
        Smallest absolute robust score of an outlier.

    Returns
    -------
    DataFrame
        Columns `member`, `measure`, `value`, `median`, `score`; the worst first.

    Examples
    --------
    >>> table = pd.DataFrame({"key": list("abcd"), "seconds": [1.0, 1.1, 0.9, 9.0]})
    >>> measure_outliers(table, {"seconds": Measure("high")})["member"].tolist()
    ['d']
    """
    keys = member_keys(frame).to_numpy()
    rows: list[dict[str, object]] = []
    for name, measure in measures.items():
        if name not in frame:
            continue
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        scores = robust_scores(values, measure.least_spread)
        far = measure.badness(scores) >= threshold
        if far.any():
            median = float(np.nanmedian(values))
            rows += [
                {
                    "member": keys[i],
                    "measure": name,
                    "value": values[i],
                    "median": median,
                    "score": scores[i],
                }
                for i in np.flatnonzero(far)
            ]
    rows.sort(key=lambda row: (-abs(float(str(row["score"]))), str(row["member"]), str(row["measure"])))
    return pd.DataFrame(rows, columns=["member", "measure", "value", "median", "score"])


def structure_outliers(
    frame: pd.DataFrame, structure: str, value: str, threshold: float = THRESHOLD
) -> pd.DataFrame:
    """Structures of members that lie far from the same structure in the rest of the cohort.

    Parameters
    ----------
    frame : DataFrame
        A row a member x structure (see `member_keys`).
    structure, value : str
        Columns of the structure's name and of the measured value.
    threshold : float
        Smallest absolute robust score of an outlier.

    Returns
    -------
    DataFrame
        Columns `member`, `structure`, `value`, `median`, `score`; the worst first.

    Examples
    --------
    >>> table = pd.DataFrame({"key": list("abcd"), "name": ["putamen"] * 4, "volume": [3.0, 3.1, 2.9, 9.0]})
    >>> structure_outliers(table, "name", "volume")["member"].tolist()
    ['d']
    """
    table = frame.assign(member=member_keys(frame), value=pd.to_numeric(frame[value], errors="coerce"))
    groups = table.groupby(structure, sort=False)["value"]
    table = table.assign(
        structure=table[structure].astype(str),
        median=groups.transform("median"),
        score=groups.transform(lambda values: robust_scores(values.to_numpy())),
    )
    far = table.loc[table["score"].abs() >= threshold, ["member", "structure", "value", "median", "score"]]
    order = far.assign(size=-far["score"].abs()).sort_values(["size", "member", "structure"], kind="stable")
    return order.drop(columns="size").reset_index(drop=True)
