"""Designs: a formula, the covariates of the participants, and the matrix of the linear model they make."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError

if TYPE_CHECKING:
    import pandas

Float64 = npt.NDArray[np.float64]

FEWEST_RESIDUAL_DEGREES = 3
INTERCEPT = "Intercept"
RANK_TOLERANCE = 1e-8
_OPERAND = re.compile(
    r"\s*(?:C\(\s*(?P<factor>[A-Za-z_]\w*)\s*\)|(?P<name>[A-Za-z_]\w*)|(?P<number>[01])(?!\w))"
)
_OPERATOR = re.compile(r"\s*([+:*])")
_RESPONSE = re.compile(r"\s*([A-Za-z_]\w*)\s*~")


@dataclass(frozen=True)
class Formula:
    """A formula that was understood.

    Parameters
    ----------
    response : str
        Left of the ``~``.
    terms : str
        Right of it, as the library of formulas reads it.
    covariates : tuple of str
        Columns it names, in order.
    factors : tuple of str
        Those among them that stand in ``C()``.
    """

    response: str
    terms: str
    covariates: tuple[str, ...]
    factors: tuple[str, ...]


def parse_formula(text: str) -> Formula:
    """Read a formula; only names, ``C(name)``, 0, 1, ``+``, ``:`` and ``*`` may stand in it.

    The libraries that build matrices from formulas run whatever Python stands in them. A configuration is
    data, so everything but this small grammar is refused before such a library sees it.

    Parameters
    ----------
    text : str
        Such as ``logjac ~ age + sex + C(group)``; ``a:b`` is an interaction, ``a*b`` is ``a + b + a:b``, 0
        leaves the intercept out.

    Raises
    ------
    InputError
        For anything else, naming the place.

    Examples
    --------
    >>> parse_formula("logjac ~ age * C(group)")
    Formula(response='logjac', terms='age*C(group)', covariates=('age', 'group'), factors=('group',))
    >>> parse_formula("logjac ~ open(age)")
    Traceback (most recent call last):
        ...
    regcore.errors.InputError: formula: expected +, : or * after 'logjac ~ open', found '(age)'
    """
    response = _RESPONSE.match(text)
    if response is None:
        raise InputError(f"formula: expected a response, ~ and covariates, found {text!r}")
    at, before = response.end(), "+"
    terms, covariates, factors = "", [], []
    while True:
        operand = _OPERAND.match(text, at)
        if operand is None:
            raise InputError(
                f"formula: expected a name, C(name), 0 or 1 after {text[:at].strip()!r}, found {text[at:]!r}"
            )
        at = operand.end()
        operator = _OPERATOR.match(text, at)
        if operand["number"] and (before != "+" or (operator is not None and operator[1] != "+")):
            raise InputError(f"formula: expected {operand['number']} alone between +, found it in {text!r}")
        name = operand["factor"] or operand["name"]
        if name:
            covariates.append(name)
        if operand["factor"]:
            factors.append(name)
        terms += f"C({name})" if operand["factor"] else operand[0].strip()
        if operator is None:
            break
        at, before = operator.end(), operator[1]
        terms += before
    if text[at:].strip():
        raise InputError(
            f"formula: expected +, : or * after {text[:at].strip()!r}, found {text[at:].strip()!r}"
        )
    return Formula(response[1], terms, tuple(dict.fromkeys(covariates)), tuple(dict.fromkeys(factors)))


@dataclass(frozen=True, eq=False)
class Design:
    """Matrix of a linear model.

    Parameters
    ----------
    matrix : array, shape (participants, columns)
    columns : tuple of str
        Name of each: ``Intercept``, ``age``, ``group[B]`` (B against the reference), ``age:group[B]``.
    kept : tuple of int
        Place, in the table of people, of each row.
    left_out : dict
        Place of those left out, and why.
    """

    matrix: Float64
    columns: tuple[str, ...]
    kept: tuple[int, ...]
    left_out: dict[int, str]

    @property
    def residual_degrees(self) -> int:
        """Degrees of freedom that the columns leave."""
        return len(self.kept) - len(self.columns)


def build_design(
    formula: Formula, people: pandas.DataFrame, reference: Mapping[str, str] | None = None
) -> Design:
    """Matrix of a formula for people; those who lack a covariate are left out and listed.

    Parameters
    ----------
    formula : Formula
    people : DataFrame
        A row a participant; numbers, or text for groups. Text, and numbers in ``C()``, become columns of 0
        and 1, one a level but the reference.
    reference : mapping, optional
        Level of a factor that the others are compared with; the first in order by default.

    Raises
    ------
    InputError
        If a covariate is no column or does not vary, a column of the matrix follows from the others, or too
        few participants are left.

    Examples
    --------
    >>> import pandas
    >>> people = pandas.DataFrame({"age": [20, 30, 40, 50, None, 60, 70], "sex": list("MFMFFFM")})
    >>> design = build_design(parse_formula("logjac ~ age + sex"), people)
    >>> design.columns, design.kept, design.left_out
    (('Intercept', 'age', 'sex[M]'), (0, 1, 2, 3, 5, 6), {4: 'age is missing'})
    """
    import formulaic

    check_covariates(formula, list(people.columns))
    wanted = people[list(formula.covariates)].reset_index(drop=True)
    gone = wanted.isna().to_numpy()
    left_out = {
        place: f"{', '.join(itertools.compress(formula.covariates, row))} is missing"
        for place, row in enumerate(gone)
        if row.any()
    }
    rows = wanted.drop(index=list(left_out))
    if len(rows) < FEWEST_RESIDUAL_DEGREES + 1:
        raise InputError(
            f"formula: expected at least {FEWEST_RESIDUAL_DEGREES + 1} participants with all covariates, "
            f"found {len(rows)} of {len(people)}"
        )
    ready = rows.copy()
    for name in formula.covariates:
        if rows[name].nunique() < 2:
            raise InputError(f"formula: expected {name} to vary, found {rows[name].iloc[0]} in everyone")
        ready[name] = _covariate(rows[name], name in formula.factors, (reference or {}).get(name))
    if formula.covariates:
        matrix = formulaic.model_matrix(formula.terms, ready, context={}, na_action="raise", output="pandas")
        names, values = [_plain(name) for name in matrix.columns], matrix.to_numpy(np.float64)
    else:
        names, values = [INTERCEPT], np.ones((len(rows), 1))
    design = Design(values, tuple(names), tuple(int(place) for place in rows.index), left_out)
    if not names:
        raise InputError("formula: expected at least one column, found none")
    if design.residual_degrees < FEWEST_RESIDUAL_DEGREES:
        raise InputError(
            f"formula: expected at least {len(names) + FEWEST_RESIDUAL_DEGREES} participants with all "
            f"covariates for {len(names)} columns, found {len(rows)}"
        )
    _check_rank(design)
    return design


def check_covariates(formula: Formula, known: Iterable[str]) -> None:
    """Refuse a formula that names a column which is not there."""
    for name in formula.covariates:
        if name not in known:
            raise InputError(
                f"formula: expected covariates of the cohort ({', '.join(map(str, known)) or 'it has none'}),"
                f" found {name!r}"
            )


def _covariate(column: pandas.Series[Any], factor: bool, reference: str | None) -> Any:
    """Numbers as numbers; groups as categories, the reference first."""
    import pandas

    if not factor and reference is None and pandas.api.types.is_numeric_dtype(column):
        return column.astype(np.float64)
    # levels in order: numbers by size, everything else by name
    text = column.map(lambda value: f"{value:g}" if isinstance(value, int | float) else str(value))
    levels = list(dict.fromkeys(text.loc[column.sort_values(kind="stable").index]))
    if reference is not None:
        if str(reference) not in levels:
            raise InputError(
                f"reference: expected a level of {column.name} ({', '.join(levels)}), found {reference!r}"
            )
        levels.remove(str(reference))
        levels.insert(0, str(reference))
    return pandas.Categorical(text, categories=levels)


def _plain(name: str) -> str:
    """Column names as people write them: ``C(group)[T.B]`` is ``group[B]``."""
    return re.sub(r"C\((\w+)\)", r"\1", str(name)).replace("[T.", "[")


def _check_rank(design: Design) -> None:
    scaled = design.matrix / np.maximum(np.linalg.norm(design.matrix, axis=0), 1e-300)
    for count in range(1, scaled.shape[1] + 1):
        if np.linalg.matrix_rank(scaled[:, :count], tol=RANK_TOLERANCE) < count:
            raise InputError(
                f"formula: expected independent columns, found that {design.columns[count - 1]} follows from "
                f"{', '.join(design.columns[: count - 1]) or 'nothing, being 0'} (rank-deficient)"
            )


@dataclass(frozen=True, eq=False)
class Contrast:
    """What is tested: a weighted sum of the model's coefficients. `name` has letters and digits only."""

    name: str
    weights: Float64


def build_contrasts(
    columns: Sequence[str], wanted: Mapping[str, Mapping[str, float]] | None = None
) -> list[Contrast]:
    """Contrasts of a design: those asked for, or else every column by itself but the intercept.

    Parameters
    ----------
    columns : sequence of str
        Of the design.
    wanted : mapping of str to mapping of str to float, optional
        Name of a contrast to the weights of its columns; columns that are not named weigh nothing.

    Raises
    ------
    InputError
        If a contrast names a column that is not there, or weighs nothing.

    Examples
    --------
    >>> [contrast.name for contrast in build_contrasts(["Intercept", "age", "group[B]", "age:group[B]"])]
    ['age', 'groupB', 'ageXgroupB']
    >>> build_contrasts(["Intercept", "g[B]", "g[C]"], {"BC": {"g[B]": 1, "g[C]": -1}})[0].weights.tolist()
    [0.0, 1.0, -1.0]
    """
    if not wanted:
        tested = [column for column in columns if column != INTERCEPT] or list(columns)
        short = [re.sub(r"[^A-Za-z0-9]", "", column.replace(":", "X")) for column in tested]
        if len(set(short)) < len(short):
            raise InputError(
                f"contrasts: expected names for columns that have the same letters and digits, found "
                f"{', '.join(tested)}"
            )
        wanted = {name: {column: 1.0} for name, column in zip(short, tested, strict=True)}
    found = []
    for name, weights in wanted.items():
        unknown = [column for column in weights if column not in columns]
        if unknown:
            raise InputError(
                f"contrasts.{name}: expected columns of the design ({', '.join(columns)}), "
                f"found {unknown[0]!r}"
            )
        vector = np.array([float(weights.get(column, 0.0)) for column in columns])
        if not vector.any():
            raise InputError(f"contrasts.{name}: expected a weight other than 0, found none")
        found.append(Contrast(name, vector))
    return found
