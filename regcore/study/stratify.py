"""Who belongs to which stratum of a cohort, and with what weight. No image is opened."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regcore.errors import InputError
from regcore.study.settings import StrataSettings

LEAST_WEIGHT = 1e-3
"""Members whose kernel weight is a smaller share of the largest one are left out."""


@dataclass(frozen=True)
class Stratum:
    """Members that make one conditional template.

    Parameters
    ----------
    number : int
        From 1: ``cohort-<number>`` in file names, as TemplateFlow has it.
    name : str
        What it is, for people.
    about : dict
        The same for programs: covariate, and its range, value, or kernel.
    weights : dict of str to float
        Member to its weight, above 0.
    values : dict of str to number or text
        Member to its value of the covariate.
    """

    number: int
    name: str
    about: dict[str, Any]
    weights: dict[str, float]
    values: dict[str, Any]


def stratify(settings: StrataSettings, covariates: Mapping[str, Mapping[str, Any]]) -> list[Stratum]:
    """Strata of a cohort: groups or bins of a covariate, then kernels at chosen values.

    Parameters
    ----------
    settings : StrataSettings
    covariates : mapping
        Member to its covariates. Members without a value are in no stratum.

    Returns
    -------
    list of Stratum
        Empty where `settings.by` is None.

    Raises
    ------
    InputError
        If no member has the covariate, a bin has no member, or text is asked for bins or kernels.

    Examples
    --------
    >>> people = {"sub-1": {"age": 20}, "sub-2": {"age": 40}, "sub-3": {"age": 60}}
    >>> strata = stratify(StrataSettings(by="age", bins=(20, 50, 60), at=(40,), bandwidth=20), people)
    >>> [(stratum.name, sorted(stratum.weights)) for stratum in strata[:2]]
    [('age 20 to 50', ['sub-1', 'sub-2']), ('age 50 to 60', ['sub-3'])]
    >>> {key: round(weight, 3) for key, weight in strata[2].weights.items()}
    {'sub-1': 0.607, 'sub-2': 1.0, 'sub-3': 0.607}
    """
    by = settings.by
    if by is None:
        return []
    values = {key: row[by] for key, row in covariates.items() if _known(row.get(by))}
    if not values:
        known = (
            ", ".join(dict.fromkeys(name for row in covariates.values() for name in row)) or "no covariate"
        )
        raise InputError(f"config strata.by: expected a covariate of the cohort ({known}), found {by}")
    if settings.bins or settings.at:
        texts = [value for value in values.values() if isinstance(value, str)]
        if texts:
            raise InputError(f"config strata.by: expected numbers for bins and kernels, found {texts[0]!r}")
        found = _bins(settings, values) + _kernels(settings, values)
    else:
        if all(isinstance(value, float) for value in values.values()):
            raise InputError(
                f"config strata.bins: expected edges, or strata.at, for the numbers of {by}, found none"
            )
        found = [
            (f"{by} {value}", {by: value}, {key: 1.0 for key, own in values.items() if own == value})
            for value in sorted(set(values.values()), key=str)
        ]
    return [
        Stratum(number, name, about, weights, {key: values[key] for key in weights})
        for number, (name, about, weights) in enumerate(found, start=1)
    ]


Found = list[tuple[str, dict[str, Any], dict[str, float]]]


def _bins(settings: StrataSettings, values: Mapping[str, float]) -> Found:
    """Every bin holds its lower edge; the last one holds its upper edge too."""
    found: Found = []
    edges = settings.bins
    for low, high in itertools.pairwise(edges):
        last = high == edges[-1]
        inside = {key: 1.0 for key, value in values.items() if _within(value, low, high, last)}
        if not inside:
            raise InputError(f"config strata.bins: expected a member from {low:g} to {high:g}, found none")
        found.append((f"{settings.by} {low:g} to {high:g}", {str(settings.by): [low, high]}, inside))
    return found


def _within(value: float, low: float, high: float, last: bool) -> bool:
    return low <= value < high or (last and value == high)


def _kernels(settings: StrataSettings, values: Mapping[str, float]) -> Found:
    """Gaussian weights about every chosen value, the largest of them 1 or less."""
    if not settings.at:
        return []
    width = settings.bandwidth or rule_of_thumb(list(values.values()))
    found: Found = []
    for centre in settings.at:
        weights = {key: math.exp(-0.5 * ((value - centre) / width) ** 2) for key, value in values.items()}
        most = max(weights.values())
        if most < LEAST_WEIGHT:
            raise InputError(
                f"config strata.at: expected a member near {centre:g}, within three bandwidths of {width:g}, "
                "found none"
            )
        kept = {key: weight for key, weight in weights.items() if weight >= LEAST_WEIGHT * most}
        about = {str(settings.by): centre, "kernel": "Gaussian", "bandwidth": width}
        found.append((f"{settings.by} {centre:g}", about, kept))
    return found


def rule_of_thumb(values: list[float]) -> float:
    """Bandwidth of a Gaussian kernel by Silverman's rule, in the unit of the values.

    References
    ----------
    Silverman, B. W. (1986), Density Estimation for Statistics and Data Analysis, equation 3.31.

    Examples
    --------
    >>> round(rule_of_thumb([20.0, 30.0, 40.0, 50.0, 60.0]), 2)
    9.74
    """
    if len(values) < 2 or len(set(values)) < 2:
        raise InputError("config strata.bandwidth: expected a width for values that do not vary, found none")
    quarters = statistics.quantiles(values, n=4, method="inclusive")
    spread = statistics.stdev(values)
    middle = (quarters[2] - quarters[0]) / 1.34
    return float(0.9 * (min(spread, middle) if middle > 0 else spread) * len(values) ** -0.2)


def _known(value: Any) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))
