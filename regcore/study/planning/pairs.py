"""Which images are registered to each other two by two."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from regcore.errors import InputError
from regcore.io.files import is_file
from regcore.io.tables import read_table
from regcore.study.config import existing_path
from regcore.study.planning.cohort import MOST_BATCHES, CohortPlan, chunk

# two of them and what stands around them make a file name
LONGEST_NAME = 64


@dataclass(frozen=True)
class Pair:
    """Two images to register: each the key of a member or an image file."""

    fixed: str
    moving: str

    @property
    def key(self) -> str:
        """Name in file names."""
        return f"{endpoint_name(self.moving)}_to-{endpoint_name(self.fixed).removeprefix('sub-')}"


def endpoint_name(endpoint: str) -> str:
    """Name of an image for file names: at most 64 of ASCII's letters and digits, after ``sub-`` for a member.

    A file whose name has none of them, or more, is named by a digest.

    Examples
    --------
    >>> endpoint_name("sub-01_ses-2"), endpoint_name("images/my brain.nii.gz"), endpoint_name("名前.nii")
    ('sub-01ses2', 'mybrain', 'image9d8007fd')
    """
    if endpoint.startswith("sub-") and "." not in endpoint:
        return "sub-" + endpoint.removeprefix("sub-").replace("_", "").replace("-", "")
    name = "".join(
        letter for letter in Path(endpoint).name.split(".")[0] if letter.isascii() and letter.isalnum()
    )
    digest = hashlib.sha256(endpoint.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return name if 0 < len(name) <= LONGEST_NAME else f"image{digest}"


class PairsPlan(CohortPlan):
    """Pairs of images and their batches."""

    @cached_property
    def pair_batches(self) -> dict[str, list[Pair]]:
        """Pairs in batches."""
        pairs = self._pairs() if "pairwise" in self.study.targets else []
        return chunk(
            pairs, self.study.batch_size or -(-len(pairs) // MOST_BATCHES), [pair.key for pair in pairs], "p"
        )

    def _pairs(self) -> list[Pair]:
        pairwise = self.study.pairwise
        pairs = []
        if pairwise.reference is not None:
            fixed = self._endpoint(pairwise.reference, "config pairwise.reference")
            pairs += [Pair(fixed, key) for key in self.keys if key != fixed]
        if pairwise.pairs is not None:
            path = existing_path(pairwise.pairs, "pairwise.pairs")
            frame = read_table(path)
            for column in ("fixed", "moving"):
                if column not in frame:
                    raise InputError(
                        f"{path}: expected a column {column}, found {', '.join(map(str, frame.columns))}"
                    )
            for row, values in enumerate(frame.to_dict("records"), start=2):
                ends = [
                    self._endpoint(str(values[name]), f"{path} row {row} {name}")
                    for name in ("fixed", "moving")
                ]
                pairs.append(Pair(*ends))
        seen: set[str] = set()
        for pair in pairs:
            if endpoint_name(pair.fixed).removeprefix("sub-") == self.study.template.name:
                raise InputError(
                    "config pairwise: expected fixed images of other names than the template's, found "
                    f"{pair.fixed!r}"
                )
            if pair.key in seen:
                raise InputError(f"config pairwise: expected each pair once, found {pair.key} more than once")
            seen.add(pair.key)
        return pairs

    def _endpoint(self, text: str, key: str) -> str:
        name = self.alias(text)
        full = name if name.startswith("sub-") else f"sub-{name}"
        if full in self.by_key or full in self.images:
            return full
        if not is_file(Path(text)):
            raise InputError(f"{key}: expected one member of the cohort or an image file, found {text!r}")
        return text

    def pair_members(self, batch: str) -> list[str]:
        """Members that a batch of pairs reads."""
        ends = [end for pair in self.pair_batches[batch] for end in (pair.fixed, pair.moving)]
        return sorted({end for end in ends if end in self.by_key or end in self.images})

    def pair_files(self, batch: str) -> list[str]:
        """Files outside the cohort that a batch of pairs reads."""
        ends = [end for pair in self.pair_batches[batch] for end in (pair.fixed, pair.moving)]
        return sorted({end for end in ends if end not in self.by_key and end not in self.images})
