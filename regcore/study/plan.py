"""What has to be made for a study: batches, iterations, files. The Snakefile asks; no image is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from regcore import __version__
from regcore.errors import InputError
from regcore.io.bids import label_names_file
from regcore.io.cohort import Member, read_cohort
from regcore.io.nifti import read_grid
from regcore.io.tables import read_table
from regcore.study.atlases import Atlas, read_atlases
from regcore.study.config import Study, TemplateStage, existing_path, find_participants
from regcore.study.outputs import Layout
from regcore.study.overrides import Override, override_rows, read_overrides

HEADERS_READ = 5
MOST_A_BATCH = 8
BASE_MB = 450
BYTES_PER_VOXEL = 400
BYTES_PER_CANDIDATE_VOXEL = 24
MINUTES_PER_MILLION_VOXELS = 4.0


@dataclass(frozen=True)
class Pair:
    """Two images to register: each the key of a member or an image file."""

    fixed: str
    moving: str

    @property
    def key(self) -> str:
        """Name in file names."""
        return f"{endpoint_name(self.moving)}_to-{endpoint_name(self.fixed).removeprefix('sub-')}"


def fingerprint(*values: object) -> str:
    """Digest of settings, for Snakemake to compare between runs: it records plain values, but no objects.

    Examples
    --------
    >>> fingerprint(Pair("a", "b")) == fingerprint(Pair("a", "b")), fingerprint(1.0) == fingerprint(2.0)
    (True, False)
    """
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def endpoint_name(endpoint: str) -> str:
    """Name of an image for file names: letters, digits, hyphen.

    Examples
    --------
    >>> endpoint_name("sub-01_ses-2"), endpoint_name("images/my brain.nii.gz")
    ('sub-01ses2', 'mybrain')
    """
    if endpoint.startswith("sub-") and "." not in endpoint:
        return "sub-" + endpoint.removeprefix("sub-").replace("_", "").replace("-", "")
    return "".join(letter for letter in Path(endpoint).name.split(".")[0] if letter.isalnum())


def chunk(items: Sequence[Any], size: int, names: Sequence[str], prefix: str) -> dict[str, list[Any]]:
    """Items in batches: named by their item if alone, else by a running number.

    Examples
    --------
    >>> chunk([1, 2, 3], 2, ["a", "b", "c"], "b")
    {'b0001': [1, 2], 'b0002': [3]}
    >>> chunk([1, 2], 1, ["a", "b"], "b")
    {'a': [1], 'b': [2]}
    """
    if size == 1:
        return {name: [item] for name, item in zip(names, items, strict=True)}
    starts = range(0, len(items), size)
    return {
        f"{prefix}{number:04d}": list(items[start : start + size])
        for number, start in enumerate(starts, start=1)
    }


def _beside(labels: Path) -> str | None:
    found = label_names_file(labels)
    return None if found is None else os.fspath(found)


class Plan:
    """Batches, iterations and files of a study.

    Parameters
    ----------
    study : Study
    members : list of Member
        The cohort.
    """

    version = __version__

    @property
    def layout(self) -> Layout:
        """Where published files lie."""
        return Layout(Path(self.study.results), self.study.template.name, self.study.cohort.suffix)

    def __init__(self, study: Study, members: Sequence[Member]) -> None:
        self.study = study
        self.members = list(members)
        self.keys = [member.key for member in members]
        self.by_key = {member.key: member for member in members}
        size = study.batch_size or min(max(len(self.members) // 8, 1), MOST_A_BATCH)
        self.batch_size = size
        self.batches: dict[str, list[Member]] = chunk(self.members, size, self.keys, "b")
        self.batch_of = {member.key: batch for batch, each in self.batches.items() for member in each}
        self.iterations = [f"{number:02d}" for number in range(1, len(study.template.iterations) + 1)]
        self.last = self.iterations[-1] if self.iterations else "00"
        table = study.qc.overrides
        self.overrides = {} if table is None else read_overrides(table, self.keys)
        self.atlases: list[Atlas] = []
        self.pair_batches: dict[str, list[Pair]] = {}
        if "atlas" in study.targets:
            table = study.atlas.table
            self.atlases = self._cohort_atlases()
            self.atlases += [] if table is None else read_atlases(existing_path(table, "atlas.table"))
        if "pairwise" in study.targets:
            pairs = self._pairs()
            self.pair_batches = chunk(pairs, study.batch_size or 1, [pair.key for pair in pairs], "p")
        self.library = [atlas for atlas in self.atlases if not atlas.is_member]
        self.template_library = self._template_library()
        self.atlas_batches: dict[str, list[str]] = {}
        if self.atlases:
            targets = self._labelled()
            self.atlas_batches = chunk(targets, study.batch_size or 1, targets, "a")
        self.atlas_batch_of = {key: batch for batch, each in self.atlas_batches.items() for key in each}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Plan:
        """Plan of a configuration; relative paths start at the working folder.

        Raises
        ------
        InputError
            If the configuration or the cohort cannot work.
        """
        study = Study.from_dict(config)
        cohort = study.cohort
        members = read_cohort(
            cohort.source,
            cohort.suffix,
            cohort.labels_from,
            cohort.labels_description,
            entities=cohort.entities,
            masks_from=cohort.masks_from,
        )
        for key, text in (
            ("cohort.label_names", cohort.label_names),
            ("atlas.label_names", study.atlas.label_names),
        ):
            if text is not None:
                existing_path(text, key)
        return cls(study, members)

    # cohort

    def member(self, key: str) -> Member:
        """A member, only with what preparing it depends on."""
        return replace(self.by_key[key], labels=None, covariates={})

    def keys_of(self, batch: str) -> list[str]:
        """Members of a batch."""
        return [member.key for member in self.batches[batch]]

    def overrides_of(self, batch: str) -> dict[str, Override]:
        """Decisions of a person about members of a batch."""
        return {key: self.overrides[key] for key in self.keys_of(batch) if key in self.overrides}

    @property
    def override_rows(self) -> list[dict[str, Any]]:
        """Decisions of a person with their words."""
        table = self.study.qc.overrides
        return [] if table is None else override_rows(table, self.keys)

    def labels_by_member(self, batch: str) -> dict[str, str]:
        """Label file of every member of a batch that has one."""
        return {m.key: os.fspath(m.labels) for m in self.batches[batch] if m.labels is not None}

    def images_of(self, key: str) -> list[str]:
        """Image and mask file of a member."""
        files = (self.by_key[key].image, self.by_key[key].mask)
        return [os.fspath(path) for path in files if path is not None]

    def labels_of(self, batch: str) -> list[str]:
        """Label files of a batch."""
        return [os.fspath(member.labels) for member in self.batches[batch] if member.labels is not None]

    def image_by_member(self) -> dict[str, str]:
        """Image file of every member."""
        return {member.key: os.fspath(member.image) for member in self.members}

    @property
    def has_labels(self) -> bool:
        """Whether any member has labels of its own."""
        return any(member.labels is not None for member in self.members)

    def covariates(self) -> list[dict[str, Any]]:
        """A row a member: identifiers and covariates."""
        return [
            {
                "participant_id": f"sub-{member.participant}",
                "session_id": None if member.session is None else f"ses-{member.session}",
                **member.covariates,
            }
            for member in self.members
        ]

    # template

    @property
    def uses_template(self) -> bool:
        """Whether anything asked for needs the template."""
        return self.study.uses_template

    def stage(self, iteration: str) -> TemplateStage:
        """Settings of an iteration; how many follow it does not matter to it."""
        return replace(self.study.template.iterations[int(iteration) - 1], repeats=1)

    def stage_name(self, iteration: str) -> str:
        """Name of the stage of an iteration; the first average is only centred."""
        return "centre" if iteration == "00" else self.stage(iteration).name

    def before(self, iteration: str) -> str:
        """Name of the iteration before."""
        return f"{int(iteration) - 1:02d}"

    @property
    def shown_iterations(self) -> list[str]:
        """Iterations whose template the report shows."""
        return ["00", *self.iterations] if self.uses_template else []

    def previous_template(self, iteration: str) -> list[str]:
        """The iteration before, if there is one."""
        return [] if iteration == "00" else [self.before(iteration)]

    # atlases and pairs

    def _cohort_atlases(self) -> list[Atlas]:
        found = []
        wanted = self.study.atlas.participants
        for key in find_participants(wanted, self.keys, "atlas.participants"):
            labels = self.by_key[key].labels
            if labels is None:
                raise InputError(f"config atlas.participants: expected {key} to have labels, found none")
            found.append(Atlas(key, self.by_key[key].image, labels, True))
        return found

    def _labelled(self) -> list[str]:
        """Members that are to be labelled by the atlases."""
        if self.study.atlas.include_atlases:
            return self.keys
        atlases = {atlas.key for atlas in self.atlases}
        return [key for key in self.keys if key not in atlases]

    def _template_library(self) -> list[str]:
        """Members through which labels pass from the atlases to all others."""
        atlas = self.study.atlas
        if not self.atlases or atlas.route != "template_library":
            return []
        if not isinstance(atlas.template_library, int):
            return find_participants(atlas.template_library, self.keys, "atlas.template_library")
        own = {each.key for each in self.atlases}
        keys = [key for key in self.keys if key not in own] or self.keys
        count = min(atlas.template_library, len(keys))
        return [keys[(2 * number + 1) * len(keys) // (2 * count)] for number in range(count)]

    def library_atlas(self, key: str) -> Atlas:
        """An atlas from the table."""
        return next(atlas for atlas in self.library if atlas.key == key)

    @property
    def validated_atlases(self) -> list[str]:
        """Atlases that are labelled by the others, to see how accurate the labels are."""
        enough = len(self.atlases) > 1 and self.study.atlas.validation
        return [atlas.key for atlas in self.atlases] if enough else []

    @property
    def makes_priors(self) -> bool:
        """Whether the atlases are carried to the template."""
        return bool(self.atlases) and self.study.atlas.needs_template

    def _read_with(self, keys: Sequence[str]) -> list[str]:
        """Members that labelling these images reads: themselves, the atlases and the template library."""
        atlases = [atlas.key for atlas in self.atlases]
        return [key for key in dict.fromkeys([*keys, *atlases, *self.template_library]) if key in self.by_key]

    def atlas_prepared(self, keys: Sequence[str]) -> list[str]:
        """Folders, below the working folder, of the images that labelling these images reads."""
        members = [f"prepared/{key}" for key in self._read_with(keys)]
        return members + [f"library/{atlas.key}" for atlas in self.library]

    def atlas_population(self, keys: Sequence[str]) -> list[str]:
        """Batches whose transforms labelling these images reads."""
        if not self.study.atlas.needs_template:
            return []
        return sorted({f"population/{self.batch_of[key]}" for key in self._read_with(keys)})

    @property
    def candidates(self) -> int:
        """Label maps that are fused into one."""
        return len(self.atlases) * max(len(self.template_library), 1)

    @property
    def ways(self) -> int:
        """Registrations that labelling one image takes."""
        return len(self.template_library or self.atlases)

    def atlas_folders(self, batch: str) -> list[str]:
        """Atlas batches that label the members of a batch."""
        found = [self.atlas_batch_of.get(key) for key in self.keys_of(batch)]
        return sorted({name for name in found if name is not None})

    @cached_property
    def label_names_files(self) -> dict[str, str]:
        """Tables of label names: of the members' own labels (``own``) and of the atlases (``atlas``)."""
        own = self.study.cohort.label_names
        labels = next((member.labels for member in self.members if member.labels is not None), None)
        if own is None and labels is not None:
            own = _beside(labels)
        atlas = self.study.atlas.label_names
        if atlas is None and self.atlases:
            atlas = own if self.atlases[0].is_member else _beside(self.atlases[0].labels)
        return {kind: path for kind, path in (("own", own), ("atlas", atlas)) if path is not None}

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
        for name in (pair.key for pair in pairs):
            if name in seen:
                raise InputError(f"config pairwise: expected each pair once, found {name} more than once")
            seen.add(name)
        return pairs

    def _endpoint(self, text: str, key: str) -> str:
        full = text if text.startswith("sub-") else f"sub-{text}"
        if full in self.by_key:
            return full
        if not Path(text).is_file():
            raise InputError(f"{key}: expected one member of the cohort or an image file, found {text!r}")
        return text

    def pair_members(self, batch: str) -> list[str]:
        """Members that a batch of pairs reads."""
        ends = [end for pair in self.pair_batches[batch] for end in (pair.fixed, pair.moving)]
        return sorted({end for end in ends if end in self.by_key})

    def pair_files(self, batch: str) -> list[str]:
        """Files outside the cohort that a batch of pairs reads."""
        ends = [end for pair in self.pair_batches[batch] for end in (pair.fixed, pair.moving)]
        return sorted({end for end in ends if end not in self.by_key})

    # tables

    @property
    def tables(self) -> list[str]:
        """Names of the tables that the targets lead to."""
        names = []
        targets = set(self.study.targets)
        labelled = self.has_labels or bool(self.atlases)
        if self.uses_template or targets & {"atlas", "pairwise"}:
            names.append("registrations")
        if self.uses_template:
            names.append("convergence")
        if labelled:
            names.append("volumes")
        if labelled and self.uses_template:
            names.append("jacobians")
        if self.atlases and any(self.by_key[key].labels for key in self.atlas_batch_of):
            names.append("overlap")
        if self.validated_atlases:
            names.append("atlas_validation")
        return names

    @property
    def measured(self) -> bool:
        """Whether members are measured one by one: structures, pictures."""
        return self.uses_template or self.has_labels or bool(self.atlases)

    def folders(self, *kinds: str) -> list[str]:
        """Working folders of all batches of these kinds, as far as the targets lead to them."""
        made = {
            "prepared": self.keys,
            "population": list(self.batches) if self.uses_template else [],
            "measured": list(self.batches) if self.measured else [],
            "atlas": list(self.atlas_batches),
            "library": [atlas.key for atlas in self.library],
            "template_library": self.template_library,
            "validation": self.validated_atlases,
            "pairwise": list(self.pair_batches),
        }
        return [f"{kind}/{name}" for kind in kinds for name in made[kind]]

    # resources

    @cached_property
    def voxels(self) -> int:
        """Voxels of the largest image, from the headers of the largest files."""
        largest = sorted((member.image for member in self.members), key=lambda path: -path.stat().st_size)
        sizes = []
        for path in largest[:HEADERS_READ]:
            try:
                sizes.append(read_grid(path).size)
            except InputError:
                # a broken image is named when it is prepared
                continue
        return max(sizes, default=1_000_000)

    def memory_mb(self, attempt: int, candidates: int = 0) -> int:
        """Memory of a job, which fuses so many label maps; more on every retry."""
        each = BYTES_PER_VOXEL + BYTES_PER_CANDIDATE_VOXEL * candidates
        return int((BASE_MB + self.voxels * each / 1e6) * attempt)

    def minutes(self, attempt: int, registrations: int = 1) -> int:
        """Run time of a job that makes so many registrations of every member of a batch."""
        each = MINUTES_PER_MILLION_VOXELS * self.voxels / 1e6 * registrations * self.batch_size
        return int((5 + each / self.study.threads) * attempt)
