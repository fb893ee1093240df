"""Structures that come in pairs: left and right, recognised from their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

SIDE = re.compile(
    r"(?<![A-Za-z])(?:(?:[Ll]eft|[Rr]ight)(?![a-z])|(?:LEFT|RIGHT|[LlRr][hH]|[LlRr])(?![A-Za-z]))"
    r"|(?<=[a-z])(?:Left|Right)(?![a-z])"
)
OTHER = {"left": "right", "right": "left", "l": "r", "r": "l", "h": "h"}


@dataclass(frozen=True)
class SidePair:
    """Labels of one structure on either side, and its name without the side."""

    structure: str
    left: int
    right: int


def mirror_name(name: str) -> str | None:
    """Name of a structure on the other side; None where a name says no side.

    Examples
    --------
    >>> mirror_name("Left putamen"), mirror_name("ctx-rh-insula"), mirror_name("Amygdala_L")
    ('Right putamen', 'ctx-lh-insula', 'Amygdala_R')
    >>> mirror_name("thalamusLeft"), mirror_name("Brainstem")
    ('thalamusRight', None)
    """
    found = SIDE.search(name)
    return None if found is None else name[: found.start()] + _other(found[0]) + name[found.end() :]


def side_pairs(names: Mapping[int, str]) -> list[SidePair]:
    """Pairs of labels whose names differ in their side alone, in the order of the left ones.

    Parameters
    ----------
    names : mapping of int to str
        Label to name.

    Returns
    -------
    list of SidePair

    Examples
    --------
    >>> side_pairs({3: "Right hippocampus", 4: "Left hippocampus", 5: "Left putamen"})
    [SidePair(structure='hippocampus', left=4, right=3)]
    """
    labels = {name: label for label, name in names.items()}
    pairs = []
    for label, name in names.items():
        found = SIDE.search(name)
        other = labels.get(mirror_name(name) or "")
        if found is None or other is None or found[0][0] not in "lL":
            continue
        before, after = name[: found.start()].rstrip(" _-."), name[found.end() :].lstrip(" _-.")
        # the sign that stood between the side and its neighbours joins what is left
        joint = name[len(before) : found.start()] if before and after else ""
        pairs.append(SidePair(before + joint + after or name, label, other))
    return pairs


def _other(side: str) -> str:
    word = OTHER[side.lower()] if side.lower() in OTHER else OTHER[side[0].lower()] + side[1:].lower()
    if side.isupper():
        return word.upper()
    return word.capitalize() if side[0].isupper() else word
