"""Linear and mixed models of measures of structures: a row a structure and contrast."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.stats

from regcore.statistics.design import Contrast, Design
from regcore.statistics.effects import Interval, cohens_d, partial_correlation

if TYPE_CHECKING:
    import pandas

CONFIDENCE = 0.95


def structure_models(
    measures: pandas.DataFrame,
    design: Design,
    contrasts: Sequence[Contrast],
    groups: Sequence[Any] | None = None,
) -> pandas.DataFrame:
    """Fit one model a structure: by least squares, or with a random intercept for each of some groups.

    Parameters
    ----------
    measures : DataFrame, shape (participants, structures)
        Indexed as `design.kept`; a value that is missing leaves the participant out of that structure.
    design : Design
    contrasts : sequence of Contrast
    groups : sequence, optional
        Group of each row of the design (a participant with several sessions, a site): rows of one group share
        an intercept drawn from a normal distribution, fitted by restricted maximum likelihood.

    Returns
    -------
    DataFrame
        ``structure`` (column of `measures`), ``contrast, model`` (``linear`` or ``mixed``), ``members, mean``
        (of the measure), ``effect, standard_error, effect_low, effect_high`` (95 % confidence), ``statistic``
        (t, or z of a mixed model), ``degrees_of_freedom`` (none for a mixed model), ``p`` (two-sided),
        ``p_fdr`` (within the contrast), ``cohens_d, cohens_d_low, cohens_d_high``, ``partial_correlation,
        partial_correlation_low, partial_correlation_high`` (linear models). What cannot be fitted is NaN.

    Examples
    --------
    >>> import pandas
    >>> from regcore.statistics import build_contrasts, build_design, parse_formula
    >>> people = pandas.DataFrame({"age": [20.0, 30, 40, 50, 60]})
    >>> design = build_design(parse_formula("volume ~ age"), people)
    >>> sizes = pandas.DataFrame({"ventricle": [2.1, 2.9, 4.0, 5.1, 5.9]})
    >>> table = structure_models(sizes, design, build_contrasts(design.columns))
    >>> table.loc[0, ["effect", "statistic", "partial_correlation"]].astype(float).round(3).tolist()
    [0.098, 28.29, 0.998]
    """
    import pandas

    model = "linear" if groups is None else "mixed"
    measures = measures.loc[list(design.kept)]
    rows = []
    for structure in measures.columns:
        response = measures[structure].to_numpy(np.float64)
        there = np.isfinite(response)
        fit = _fit(
            response[there], design.matrix[there], None if groups is None else np.asarray(groups)[there]
        )
        for contrast in contrasts:
            row = {"structure": structure, "contrast": contrast.name, "model": model, "members": there.sum()}
            row["mean"] = response[there].mean() if there.any() else math.nan
            rows.append(row | (_nothing() if fit is None else _contrasted(fit, contrast.weights, model)))
    frame = pandas.DataFrame(rows)
    if frame.empty:
        return frame
    frame["p_fdr"] = frame.groupby("contrast")["p"].transform(_fdr)
    return frame


def _fit(
    response: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64], groups: npt.NDArray[Any] | None
) -> Any:
    """Fitted model, or None where the data do not determine it."""
    import statsmodels.api as models

    rows, columns = matrix.shape
    if rows <= columns or np.linalg.matrix_rank(matrix) < columns or np.ptp(response) == 0:
        return None
    if groups is None:
        return models.OLS(response, matrix).fit()
    if len(set(groups.tolist())) in (1, rows):
        return None
    # in units of its spread the likelihood is the same for mm3 as for logarithms
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scale = response.std()
            fit = models.MixedLM(response / scale, matrix, groups=groups).fit(
                reml=True, method=["lbfgs", "powell"]
            )
        except np.linalg.LinAlgError:
            return None
    fit.unit = scale
    return fit if fit.converged else None


def _contrasted(fit: Any, weights: npt.NDArray[np.float64], model: str) -> dict[str, float]:
    count = len(weights)
    unit = 1.0 if model == "linear" else float(fit.unit)
    coefficients = np.asarray(fit.params)[:count] * unit
    covariance = np.asarray(fit.cov_params())[:count, :count] * unit**2
    effect, error = float(weights @ coefficients), float(np.sqrt(weights @ covariance @ weights))
    statistic = effect / error if error > 0 else math.nan
    degrees = float(fit.df_resid) if model == "linear" else math.inf
    reach = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    found = _nothing() | {
        "effect": effect,
        "standard_error": error,
        "effect_low": effect - reach,
        "effect_high": effect + reach,
        "statistic": statistic,
        "p": float(2 * scipy.stats.t.sf(abs(statistic), degrees)),
    }
    if model == "linear":
        found["degrees_of_freedom"] = degrees
        sizes = {
            "cohens_d": cohens_d(statistic, degrees, error / math.sqrt(fit.scale), CONFIDENCE),
            "partial_correlation": partial_correlation(statistic, degrees, CONFIDENCE),
        }
    else:
        # what varies between participants alike: their random intercepts and what is left
        spread = unit * math.sqrt(float(np.asarray(fit.cov_re)[0, 0]) + float(fit.scale))
        sizes = {"cohens_d": Interval(*(end / spread for end in (effect, effect - reach, effect + reach)))}
    for name, (value, low, high) in sizes.items():
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return found


def _nothing() -> dict[str, float]:
    sizes = [f"{name}{end}" for name in ("cohens_d", "partial_correlation") for end in ("", "_low", "_high")]
    plain = ["effect", "standard_error", "effect_low", "effect_high", "statistic", "degrees_of_freedom", "p"]
    return dict.fromkeys([*plain, "p_fdr", *sizes], math.nan)


def _fdr(p: pandas.Series[float]) -> npt.NDArray[np.float64]:
    """False discovery rates of the p-values that there are."""
    values = p.to_numpy(np.float64)
    there = np.isfinite(values)
    found = np.full(len(values), math.nan)
    if there.any():
        found[there] = scipy.stats.false_discovery_control(values[there])
    return found
