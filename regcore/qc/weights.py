"""What an outlying registration weighs in the average of a cohort."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from regcore.qc.outliers import THRESHOLD, Measure, robust_scores

RULES = ("downweight", "exclude", "none")


# volumes of healthy heads differ by about a tenth: an affine that merely follows them has not failed
MEASURES: dict[str, Measure] = {
    "similarity_after": Measure("low", 0.02, "similarity"),
    "mask_dice": Measure("low", 0.01, "mask overlap"),
    "label_dice": Measure("low", 0.01, "label overlap"),
    "folded_voxels": Measure("high", 1.0, "folded voxels"),
    "minimum_jacobian": Measure("low", 0.05, "smallest Jacobian"),
    "inverse_consistency_mean_vox": Measure("high", 0.02, "inverse inconsistency"),
    "affine_log_volume": Measure("both", 0.1, "affine volume"),
    "affine_log_anisotropy": Measure("high", 0.05, "affine anisotropy"),
}
WEIGHING = tuple(name for name in MEASURES if name != "label_dice")
"""Measures that may decide a weight: labels are kept to judge the result by."""


def score_members(frame: pd.DataFrame, measures: Sequence[str] = WEIGHING) -> pd.DataFrame:
    """How far every member's worst measure lies from the cohort's median, on the side that is bad.

    Parameters
    ----------
    frame : DataFrame
        A row a member, a column a measure (see `MEASURES`); a column that is not there is passed over.
    measures : sequence of str
        Which measures count.

    Returns
    -------
    DataFrame
        With the index of `frame`: `score` in robust standard deviations, 0 where no measure is bad, and
        `worst`, the measure that has it (None where the score is 0).

    References
    ----------
    Leys C et al. doi:10.1016/j.jesp.2013.03.013 (median absolute deviation).

    Examples
    --------
    >>> table = pd.DataFrame({"similarity_after": [0.8, 0.81, 0.79, 0.8, 0.3]})
    >>> score_members(table).round(1).to_dict("records")[-1]
    {'score': 25.0, 'worst': 'similarity_after'}
    """
    best = np.zeros(len(frame))
    worst: npt.NDArray[np.object_] = np.full(len(frame), None, dtype=object)
    for name in measures:
        if name not in frame:
            continue
        measure = MEASURES[name]
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        bad = measure.badness(robust_scores(values, measure.least_spread))
        further = bad > best
        best[further], worst[further] = bad[further], name
    return pd.DataFrame({"score": best, "worst": worst}, index=frame.index)


def outlier_weights(
    scores: npt.ArrayLike, rule: str = "downweight", threshold: float = THRESHOLD
) -> npt.NDArray[np.float64]:
    """Weight of every member in the average.

    Parameters
    ----------
    scores : array, shape (N,)
        As `score_members` gives them.
    rule : {"downweight", "exclude", "none"}
        ``downweight``: ``threshold / score`` beyond the threshold, the weight of Huber's estimator of the
        mean; ``exclude``: 0 beyond it; ``none``: always 1.
    threshold : float
        Largest score that weighs in full.

    Returns
    -------
    array, shape (N,)
        0 to 1, four decimals, so that what is written in a table is exactly what is used.

    References
    ----------
    Huber PJ. Robust estimation of a location parameter. doi:10.1214/aoms/1177703732

    Examples
    --------
    >>> outlier_weights([0.0, 3.5, 7.0], "downweight", 3.5).tolist()
    [1.0, 1.0, 0.5]
    >>> outlier_weights([0.0, 3.5, 7.0], "exclude", 3.5).tolist()
    [1.0, 1.0, 0.0]
    """
    size = np.asarray(scores, dtype=np.float64)
    if rule == "none":
        return np.ones(size.shape)
    if rule == "exclude":
        return (size <= threshold).astype(np.float64)
    return np.round(threshold / np.maximum(size, threshold), 4)


def reason_of(row: Mapping[Hashable, object], threshold: float) -> str:
    """Why a member weighs less: one clause.

    Examples
    --------
    >>> reason_of({"score": 7.0, "worst": "mask_dice", "mask_dice": 0.81}, 3.5)
    'outlier: mask overlap 0.81, 7 robust standard deviations from the median'
    """
    score, worst = float(str(row["score"])), str(row["worst"])
    if score <= threshold:
        return ""
    value = float(str(row[worst]))
    words = MEASURES[worst].words
    return f"outlier: {words} {value:.3g}, {score:.3g} robust standard deviations from the median"
