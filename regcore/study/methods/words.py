"""Sentences with numbered references, and a registration in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from regcore.io.tables import read_yaml
from regcore.registration.settings import DeformableSettings, RegistrationSettings

REFERENCES = Path(__file__).with_name("references.yaml")
METRICS = {
    "ssd": "squared differences",
    "sad": "absolute differences",
    "ncc": "normalised cross-correlation",
    "lncc": "local normalised cross-correlation",
    "mi": "mutual information",
    "nmi": "normalised mutual information",
    "ecc": "the entropy correlation coefficient",
    "mind": "modality-independent neighbourhood descriptors",
}
MODELS = {
    "greedy": "a greedy diffeomorphic map",
    "displacement": "a displacement",
    "velocity": "the flow of a stationary velocity",
    "symmetric": "a symmetric diffeomorphic map",
}
REGULARISERS = {
    "diffusion": "diffusion",
    "bending": "bending energy",
    "elastic": "linear elasticity",
    "total_variation": "total variation",
}


@cache
def _known() -> dict[str, Any]:
    return read_yaml(REFERENCES)


@dataclass(frozen=True)
class Words:
    """What is cited so far, and the versions that can be named.

    Parameters
    ----------
    versions : mapping
        Program or library to its version.
    cited : list of (str, str)
        Reference and DOI in the order in which the text cites them.

    Examples
    --------
    >>> words = Words({"numba": "0.61"})
    >>> words.named("Numba") + words.cite("lncc") + words.cite("mi", "symmetric")
    'Numba 0.61 [1] [2, 1]'
    """

    versions: Mapping[str, str]
    cited: list[tuple[str, str]] = field(default_factory=list)

    def cite(self, *names: str) -> str:
        """Numbers of references by their names in the table; a name that it does not have says nothing."""
        numbers = []
        for name in names:
            if name in _known():
                reference = (_known()[name][0], _known()[name][1])
                if reference not in self.cited:
                    self.cited.append(reference)
                numbers.append(str(self.cited.index(reference) + 1))
        return f" [{', '.join(numbers)}]" if numbers else ""

    def named(self, name: str) -> str:
        """A library and its version, if that is known."""
        versions = {key.lower(): version for key, version in self.versions.items()}
        return f"{name} {versions[name.lower()]}" if name.lower() in versions else name

    def metric(self, name: str) -> str:
        """A similarity measure."""
        return METRICS[name] + self.cite(name)

    def registration(self, settings: RegistrationSettings) -> str:
        """The parts of a registration in their order."""
        parts = ["matching of the histograms"] if settings.match_histograms else []
        for each in settings.linear:
            search = "from any rotation, " if each.rotation_search == "full" else ""
            parts.append(f"{each.model} ({search}{self.metric(each.metric)})")
        if settings.deformable is not None:
            parts.append(self._deformable(settings.deformable))
        crop = "; what lies beyond the moving image did not count" if settings.outside == "ignored" else ""
        return ", then ".join(parts) + crop

    def _deformable(self, settings: DeformableSettings) -> str:
        found = (
            f"{MODELS[settings.model]}{self.cite(settings.model)} driven by {self.metric(settings.metric)}"
        )
        if settings.model == "greedy":
            return found
        weight = settings.regularisation_weight
        found += f" and regularised by {REGULARISERS[settings.regulariser]}{self.cite(settings.regulariser)}"
        return found if weight is None else f"{found} (weight {weight:g})"


def count(number: int, what: str) -> str:
    """A number and what there is of it.

    Examples
    --------
    >>> count(1, "image"), count(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed(words: Iterable[str]) -> str:
    """A list within a sentence.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    found: Sequence[str] = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
