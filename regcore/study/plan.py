"""What has to be made for a study: batches, iterations, files. The Snakefile asks; no image is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from regcore import __version__
from regcore.errors import InputError
from regcore.io.bids import label_names_file
from regcore.io.cohort import Member, read_cohort
from regcore.io.files import is_file
from regcore.io.label_tables import read_label_table
from regcore.io.nifti import read_grid
from regcore.io.pseudonyms import pseudonym, read_secret
from regcore.io.tables import read_table
from regcore.sides import side_pairs
from regcore.study.atlases import Atlas, read_atlases
from regcore.study.config import (
    StatisticsSettings,
    Study,
    TemplateSettings,
    TemplateStage,
    existing_path,
    find_participants,
)
from regcore.study.designs import plan_design
from regcore.study.outputs import Layout, find_given, known_transform
from regcore.study.overrides import Override, override_rows, read_overrides
from regcore.study.stratify import Stratum, stratify
from regcore.study.subjects import Subject, group_sessions

HEADERS_READ = 5
MOST_A_BATCH = 8
# two of them and what stands around them make a file name
LONGEST_NAME = 64
BASE_MB = 450
BYTES_PER_VOXEL = 400
BYTES_PER_CANDIDATE_VOXEL = 24
BYTES_PER_MEMBER_VOXEL = 10
MINUTES_PER_MILLION_VOXELS = 4.0
SECONDS_PER_PERMUTATION = 1.0
CONTRASTS_EXPECTED = 4


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


def numbered(settings: TemplateSettings) -> list[str]:
    """Names of the iterations of a template: ``01``, ``02``, ..."""
    return [f"{number:02d}" for number in range(1, len(settings.iterations) + 1)]


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
        The images of the cohort. Where sessions become subjects first, the members of the population are
        these subjects.
    aliases : mapping, optional
        Pseudonym, under which `members` go, of every participant that the configuration may name.
    """

    version = __version__

    @property
    def layout(self) -> Layout:
        """Where published files lie."""
        return Layout(Path(self.study.results), self.study.template.name, self.study.cohort.suffix)

    def within(self, subject: str) -> Layout:
        """Where the files in the space of a subject lie."""
        return Layout(Path(self.study.results), self.study.sessions.name, self.study.cohort.suffix, subject)

    def __init__(
        self, study: Study, members: Sequence[Member], aliases: Mapping[str, str] | None = None
    ) -> None:
        self.aliases = dict(aliases or {})
        study = self.study = replace(study, **self._renamed(study)) if aliases else study
        self.images = {member.key: member for member in members}
        self.subjects: dict[str, Subject] = {}
        if study.uses_sessions:
            source = Path(study.cohort.source)
            grouped = group_sessions(members, study.sessions, source if source.is_dir() else source.parent)
            self.subjects = {subject.key: subject for subject in grouped}
            members = [subject.member(self.layout.work) for subject in grouped]
        self.members = list(members)
        self.keys = [member.key for member in members]
        self.by_key = {member.key: member for member in members}
        size = study.batch_size or min(max(len(self.members) // 8, 1), MOST_A_BATCH)
        self.batch_size = size
        self.batches: dict[str, list[Member]] = chunk(self.members, size, self.keys, "b")
        self.batch_of = {member.key: batch for batch, each in self.batches.items() for member in each}
        self.iterations = numbered(study.template)
        self.session_iterations = numbered(study.sessions)
        self.last = self.iterations[-1] if self.iterations else "00"
        self.last_session = self.session_iterations[-1] if self.session_iterations else "00"
        table, known = study.qc.overrides, list(dict.fromkeys([*self.keys, *self.images]))
        self.overrides = {} if table is None else read_overrides(table, known, self.alias)
        for subject in self.subjects.values():
            # the only session of a subject is the member itself
            if not subject.is_averaged and subject.keys[0] in self.overrides:
                self.overrides.setdefault(subject.key, self.overrides[subject.keys[0]])
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
        self._check_paths()

    def _check_paths(self) -> None:
        """Refuse files whose names Snakemake would take for patterns."""
        files: list[object] = [
            file for each in self.members for file in (each.image, each.mask, each.labels) if file
        ]
        files += [file for atlas in self.library for file in (atlas.image, atlas.labels)]
        files += [
            end for pairs in self.pair_batches.values() for pair in pairs for end in (pair.fixed, pair.moving)
        ]
        for file in files:
            if "{" in str(file) or "}" in str(file):
                raise InputError(
                    f"{file}: expected a path without braces, found some (wildcards in Snakemake)"
                )

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
            channels=list(cohort.channels),
        )
        for key, text in (
            ("cohort.label_names", cohort.label_names),
            ("atlas.label_names", study.atlas.label_names),
        ):
            if text is not None:
                existing_path(text, key)
        if study.privacy.pseudonym_secret is None:
            return cls(study, members)._checked()
        secret = read_secret(existing_path(study.privacy.pseudonym_secret, "privacy.pseudonym_secret"))
        aliases = {member.participant: pseudonym(secret, member.participant) for member in members}
        members = [replace(member, participant=aliases[member.participant]) for member in members]
        return cls(study, sorted(members, key=lambda member: member.key), aliases)._checked()

    def _checked(self) -> Plan:
        """Refuse what only the whole cohort can tell, before anything runs."""
        _ = self.given, self.strata
        return self

    def alias(self, name: str) -> str:
        """A participant, with or without ``sub-``, by the name it has in this study."""
        bare, session, rest = name.removeprefix("sub-").partition("_ses-")
        return f"sub-{self.aliases[bare]}{session}{rest}" if bare in self.aliases else name

    def _renamed(self, study: Study) -> dict[str, Any]:
        """Settings that name participants, by their pseudonyms."""
        atlas, pairwise = study.atlas, study.pairwise
        library, reference = atlas.template_library, pairwise.reference
        atlas = replace(atlas, participants=tuple(map(self.alias, atlas.participants)))
        if not isinstance(library, int):
            atlas = replace(atlas, template_library=tuple(map(self.alias, library)))
        if reference is not None:
            pairwise = replace(pairwise, reference=self.alias(reference))
        return {"atlas": atlas, "pairwise": pairwise}

    # cohort

    def member(self, key: str) -> Member:
        """An image of the cohort, only with what preparing it depends on."""
        return replace(self.images[key], labels=None, covariates={})

    def keys_of(self, batch: str) -> list[str]:
        """Members of a batch."""
        return [member.key for member in self.batches[batch]]

    def overrides_of(self, batch: str) -> dict[str, Override]:
        """Decisions of a person about members of a batch."""
        return self._decided(self.keys_of(batch))

    def session_overrides(self, subject: str) -> dict[str, Override]:
        """Decisions of a person about sessions of a subject."""
        return self._decided(self.subjects[subject].keys)

    def _decided(self, keys: Iterable[str]) -> dict[str, Override]:
        return {key: self.overrides[key] for key in keys if key in self.overrides}

    @property
    def override_rows(self) -> list[dict[str, Any]]:
        """Decisions of a person with their words."""
        table = self.study.qc.overrides
        known = list(dict.fromkeys([*self.keys, *self.images]))
        return [] if table is None else override_rows(table, known, self.alias)

    def labels_by_member(self, batch: str) -> dict[str, str]:
        """Label file of every member of a batch that has one."""
        return {m.key: os.fspath(m.labels) for m in self.batches[batch] if m.labels is not None}

    def images_of(self, key: str) -> list[str]:
        """Image and mask file of an image of the cohort."""
        files = (self.images[key].image, self.images[key].mask, *self.images[key].channels.values())
        return [os.fspath(path) for path in files if path is not None]

    def labels_of(self, batch: str) -> list[str]:
        """Label files of a batch."""
        return self.outside(member.labels for member in self.batches[batch])

    def outside(self, files: Iterable[Path | None]) -> list[str]:
        """Those of some files that no job of this study makes together with an image."""
        work = self.layout.work
        return [os.fspath(file) for file in files if file is not None and not file.is_relative_to(work)]

    def image_by_member(self) -> dict[str, str]:
        """Image file of every member and session; its name says who it is: pseudonyms stand alone."""
        each_image = [*self.members, *self.images.values()]
        return {each.key: each.key if self.aliases else os.fspath(each.image) for each in each_image}

    @property
    def has_labels(self) -> bool:
        """Whether any member has labels of its own."""
        return any(member.labels is not None for member in self.members)

    def covariates(self, sessions: bool = False) -> list[dict[str, Any]]:
        """A row a member: identifiers and covariates; then a row a session of the subjects, if asked for."""
        members = list(self.members)
        if sessions:
            members += [each for one in self.subjects.values() if not one.is_image for each in one.sessions]
        return [
            {
                "participant_id": f"sub-{member.participant}",
                "session_id": None if member.session is None else f"ses-{member.session}",
                **member.covariates,
            }
            for member in members
        ]

    # sessions

    def subject_names(self, averaged: bool) -> list[str]:
        """Subjects with several sessions, or those whose one session is taken as it is."""
        chosen = [one for one in self.subjects.values() if one.is_averaged == averaged and not one.is_image]
        return [subject.key for subject in chosen]

    def subject_folders(self, subject: str) -> list[str]:
        """Folders, below the working folder, of the prepared sessions of a subject."""
        return [f"prepared/{key}" for key in self.subjects[subject].keys]

    def subject_atlas(self, subject: str) -> list[str]:
        """Folder of the atlas batch that labels a subject, where there is one."""
        batch = self.atlas_batch_of.get(subject)
        return [] if batch is None else [f"atlas/{batch}"]

    def subject_label_files(self, subject: str) -> dict[str, str]:
        """Own label file of a subject and of its sessions."""
        member = self.by_key[subject].labels
        own = {} if member is None else {subject: os.fspath(member)}
        return own | self.subjects[subject].labels

    # template

    @property
    def uses_template(self) -> bool:
        """Whether anything asked for needs the template."""
        return self.study.uses_template

    def stage(self, iteration: str, of: TemplateSettings | None = None) -> TemplateStage:
        """Settings of an iteration; how many follow it does not matter to it."""
        stages = (of or self.study.template).iterations
        return replace(stages[int(iteration) - 1], repeats=1)

    @cached_property
    def given(self) -> dict[str, Path]:
        """Image and mask of a template that is given; empty where one is built from nothing."""
        template = self.study.template
        if template.given is None or not self.uses_template:
            return {}
        return find_given(Path(template.given[1]), self.study.cohort.suffix, f"template.{template.given[0]}")

    @property
    def held_iterations(self) -> list[str]:
        """Iterations that leave a given template as it is."""
        held = self.study.template.held
        return [each for each in self.iterations if self.stage(each).name in held]

    def known_transforms(self, batch: str) -> dict[str, str]:
        """Transforms of members of a batch to the template that is given, as far as there are any."""
        folder, suffix = self.given["image"].parent, self.study.cohort.suffix
        found = ((key, known_transform(folder, suffix, key)) for key in self.keys_of(batch))
        return {key: os.fspath(path) for key, path in found if path is not None}

    def stage_name(self, iteration: str, of: TemplateSettings | None = None) -> str:
        """Name of the stage of an iteration; the first average is only centred."""
        return "centre" if iteration == "00" else self.stage(iteration, of).name

    def before(self, iteration: str) -> str:
        """Name of the iteration before."""
        return f"{int(iteration) - 1:02d}"

    @property
    def shown_iterations(self) -> list[str]:
        """Iterations whose template the report shows."""
        built = [each for each in self.iterations if each not in self.held_iterations]
        return ["00", *built] if self.uses_template else []

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

    @property
    def atlas_labels(self) -> list[str]:
        """Label files of the atlases."""
        return self.outside(atlas.labels for atlas in self.atlases)

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
        labels = next((each.labels for each in self.images.values() if each.labels is not None), None)
        if own is None and labels is not None:
            own = _beside(labels)
        atlas = self.study.atlas.label_names
        if atlas is None and self.atlases:
            atlas = own if self.atlases[0].is_member else _beside(self.atlases[0].labels)
        return {kind: path for kind, path in (("own", own), ("atlas", atlas)) if path is not None}

    @cached_property
    def has_sides(self) -> bool:
        """Whether names of labels tell left from right."""
        return any(side_pairs(read_label_table(file).names) for file in self.label_names_files.values())

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

    # statistics

    @property
    def template_labels(self) -> dict[str, str]:
        """Labels of the template that structures are measured in: of the members' own, of the atlases."""
        found = {}
        if self.uses_template and self.has_labels:
            found["own"] = os.fspath(self.layout.template_labels)
        if self.uses_template and self.makes_priors:
            found["atlas"] = os.fspath(self.layout.priors(self.study.atlas.name)["labels"])
        return found

    @property
    def designs(self) -> list[str]:
        """Names of the designs that are tested."""
        return list(self.study.statistics.designs) if "statistics" in self.study.targets else []

    def statistics_of(self, design: str) -> StatisticsSettings:
        """Settings of one design alone: the others do not matter to it."""
        settings = self.study.statistics
        return replace(settings, designs={design: settings.designs[design]})

    def check_designs(self) -> None:
        """Refuse designs that cannot work even if no image is set aside; takes a second of imports.

        Raises
        ------
        InputError
            For the first one.
        """
        for name in self.designs:
            plan_design(name, self.study.statistics, self.covariates(), bool(self.template_labels))

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
        if self.measures_influence:
            names.append("influence")
        if self.strata:
            names.append("strata")
        if labelled:
            names.append("volumes")
        if self.template_labels:
            names += ["jacobians", "consistency"]
        if labelled and self.has_sides:
            names.append("asymmetry")
        if self.atlases and any(self.by_key[key].labels for key in self.atlas_batch_of):
            names.append("overlap")
        if self.validated_atlases:
            names.append("atlas_validation")
        if self.subjects:
            names.append("sessions")
        if any(subject.is_averaged and subject.labels for subject in self.subjects.values()):
            names.append("propagation")
        if any(subject.maps for subject in self.subjects.values()):
            names += ["accumulated", "histograms"]
        return names

    @cached_property
    def strata(self) -> list[Stratum]:
        """Conditional templates that are asked for."""
        covariates = {member.key: member.covariates for member in self.members}
        return stratify(self.study.strata, covariates) if self.uses_template else []

    @property
    def measures_influence(self) -> bool:
        """Whether it is measured what each member does to the template; to a frozen one they do nothing."""
        return self.uses_template and self.study.template.frozen is None

    @property
    def measured(self) -> bool:
        """Whether members are measured one by one: structures, pictures."""
        return self.uses_template or self.has_labels or bool(self.atlases)

    def folders(self, *kinds: str) -> list[str]:
        """Working folders of all batches of these kinds, as far as the targets lead to them."""
        subjects = self.subjects.values()
        made = {
            "prepared": list(dict.fromkeys([*self.images, *self.keys])),
            "sessions": [subject.key for subject in subjects if subject.is_averaged],
            "chained": list(self.subjects) if self.uses_template else [],
            "propagated": list(self.subjects),
            "accumulated": [subject.key for subject in subjects if subject.maps],
            "followed": list(self.subjects),
            "population": list(self.batches) if self.uses_template else [],
            "morphometry": list(self.batches) if self.uses_template else [],
            "measured": list(self.batches) if self.measured else [],
            "strata": [str(stratum.number) for stratum in self.strata],
            "influence": ["all"] if self.measures_influence else [],
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
        largest = sorted(
            (member.image for member in self.images.values()), key=lambda path: -path.stat().st_size
        )
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

    def statistics_mb(self, attempt: int) -> int:
        """Memory of the statistics: all members' maps twice, and what a batch of permutations takes."""
        each = BYTES_PER_VOXEL + BYTES_PER_MEMBER_VOXEL * len(self.members)
        return int((BASE_MB + self.voxels * each / 1e6) * attempt)

    def statistics_minutes(self, attempt: int) -> int:
        """Run time of the statistics of a design."""
        each = SECONDS_PER_PERMUTATION * self.study.statistics.permutations * self.voxels / 1e6
        return int((10 + CONTRASTS_EXPECTED * each / 60) * attempt)

    def minutes(self, attempt: int, registrations: int = 1) -> int:
        """Run time of a job that makes so many registrations of every member of a batch."""
        each = MINUTES_PER_MILLION_VOXELS * self.voxels / 1e6 * registrations * self.batch_size
        return int((5 + each / self.study.threads) * attempt)
