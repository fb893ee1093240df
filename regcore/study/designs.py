"""Designs of a study: what a configuration asks of the covariates of its cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regcore.errors import InputError
from regcore.study.settings import DesignSettings, StatisticsSettings

if TYPE_CHECKING:
    from regcore.statistics import Contrast, Design

MAPS = {"logjac": "rel", "absolute_logjac": "abs"}
"""Response to the kind of map that is tested voxel by voxel."""
MEASURES = {
    "logjac": ("jacobians", "relative_mean"),
    "absolute_logjac": ("jacobians", "absolute_mean"),
    "integrated_volume": ("jacobians", "integrated_volume_mm3"),
    "volume": ("volumes", "volume_mm3"),
}
"""Response to the table and column of its measure of structures."""


def plan_design(
    name: str, settings: StatisticsSettings, people: Sequence[Mapping[str, Any]], labelled: bool
) -> tuple[Design, list[Contrast]]:
    """Design and contrasts of the people of a study, refused where they cannot work.

    Parameters
    ----------
    name : str
        Of the design.
    settings : StatisticsSettings
    people : sequence of mapping
        A row a member with `participant_id`, `session_id` and covariates; the rows of the design are indexed
        by the places in it.
    labelled : bool
        Whether there are labels of the template.

    Raises
    ------
    InputError
        For what the formula, the contrasts or the covariates lack; it names the key of the configuration.
    """
    import pandas as pd

    from regcore.statistics import build_contrasts, build_design, parse_formula

    chosen = settings.designs[name]
    key = f"config statistics.designs.{name}"
    table = pd.DataFrame(list(people))
    identifiers = table[["participant_id", "session_id"]]
    try:
        formula = parse_formula(chosen.formula)
        if formula.response not in MEASURES:
            raise InputError(
                f"formula: expected a response of {', '.join(MEASURES)}, found {formula.response!r}"
            )
        needs_labels = formula.response not in MAPS or chosen.random is not None or settings.mask == "labels"
        if needs_labels and not labelled:
            raise InputError("formula: expected labels, to test structures or their voxels, found none")
        for factor in chosen.reference:
            if factor not in formula.covariates:
                raise InputError(f"reference: expected covariates of the formula, found {factor!r}")
        covariates = table.drop(columns=list(identifiers))
        design = build_design(formula, covariates, chosen.reference)
        contrasts = build_contrasts(design.columns, chosen.contrasts)
        groups = random_groups(chosen, people)
        kept = identifiers["participant_id"].iloc[list(design.kept)]
        if groups is None and kept.duplicated().any():
            raise InputError(
                f"random: expected participant_id, as participants have several sessions, found none "
                f"({kept[kept.duplicated()].iloc[0]} has more than one)"
            )
        if groups is not None and len({groups[index] for index in design.kept}) == len(design.kept):
            raise InputError(f"random: expected {chosen.random} to repeat, found another one in every row")
    except InputError as error:
        raise InputError(f"{key}.{error}") from None
    return design, contrasts


def random_groups(chosen: DesignSettings, people: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """Value of the random factor of every member, or None without one."""
    if chosen.random is None:
        return None
    if chosen.random not in people[0]:
        raise InputError(
            f"random: expected participant_id or a covariate of the cohort, found {chosen.random!r}"
        )
    # a value that is missing is a group of its own
    return [
        f"missing {place}" if row[chosen.random] is None else row[chosen.random]
        for place, row in enumerate(people)
    ]
