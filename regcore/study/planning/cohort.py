"""Who takes part in a study: members, their batches, subjects with their sessions, decisions about them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from regcore import __version__
from regcore.io.cohort import Member
from regcore.study.config import Study
from regcore.study.outputs import Layout
from regcore.study.overrides import Override, override_rows, read_overrides
from regcore.study.subjects import Subject, group_sessions

# larger ones leave a cluster few jobs, smaller ones cost time and disk: each starts Python and keeps its sums
MOST_A_BATCH = 16
# a large cohort has no more batches than this and is prepared in them, a small one image by image
MOST_BATCHES = 200
PREPARED_ALONE = 50


def chunk(items: Sequence[Any], size: int, names: Sequence[str], prefix: str) -> dict[str, list[Any]]:
    """Items in batches: named by their item if alone, else by a running number.

    Examples
    --------
    >>> chunk([1, 2, 3], 2, ["a", "b", "c"], "b")
    {'b0001': [1, 2], 'b0002': [3]}
    >>> chunk([1, 2], 1, ["a", "b"], "b")
    {'a': [1], 'b': [2]}
    """
    if size <= 1:
        return {name: [item] for name, item in zip(names, items, strict=True)}
    starts = range(0, len(items), size)
    return {
        f"{prefix}{number:04d}": list(items[start : start + size])
        for number, start in enumerate(starts, start=1)
    }


def usual_batch_size(members: int) -> int:
    """Members a job works on if nobody says: an eighth of the cohort, at most 16, but at most 200 batches.

    Examples
    --------
    >>> [usual_batch_size(members) for members in (5, 24, 1000, 10_000)]
    [1, 3, 16, 50]
    """
    return max(min(max(members // 8, 1), MOST_A_BATCH), -(-members // MOST_BATCHES))


class CohortPlan:
    """Members, batches and subjects of a study; the other parts of a plan extend it.

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
        size = self.batch_size = study.batch_size or usual_batch_size(len(self.members))
        self.batches: dict[str, list[Member]] = chunk(self.members, size, self.keys, "b")
        self.batch_of = {member.key: batch for batch, each in self.batches.items() for member in each}
        table, known = study.qc.overrides, list(dict.fromkeys([*self.keys, *self.images]))
        self.overrides = {} if table is None else read_overrides(table, known, self.alias)
        for subject in self.subjects.values():
            # the only session of a subject is the member itself
            if not subject.is_averaged and subject.keys[0] in self.overrides:
                self.overrides.setdefault(subject.key, self.overrides[subject.keys[0]])

    @property
    def layout(self) -> Layout:
        """Where published files lie."""
        return Layout(Path(self.study.results), self.study.template.name, self.study.cohort.suffix)

    def within(self, subject: str) -> Layout:
        """Where the files in the space of a subject lie."""
        return Layout(Path(self.study.results), self.study.sessions.name, self.study.cohort.suffix, subject)

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

    @cached_property
    def prepared_batches(self) -> dict[str, list[Member]]:
        """Images that are prepared together: one by one, or in the batches of a large cohort."""
        alone = bool(self.subjects) or len(self.images) <= PREPARED_ALONE
        return chunk([*self.images.values()], 1 if alone else self.batch_size, [*self.images], "b")

    @cached_property
    def _prepared_in(self) -> dict[str, str]:
        return {each.key: batch for batch, images in self.prepared_batches.items() for each in images}

    def prepared(self, keys: Iterable[str]) -> list[str]:
        """Folders, below the working folder, that hold these prepared images and subjects."""
        return list(dict.fromkeys(f"prepared/{self._prepared_in.get(key, key)}" for key in keys))

    def sources(self, batch: str) -> list[Member]:
        """Images that are prepared together, only with what preparing them depends on."""
        return [replace(image, labels=None, covariates={}) for image in self.prepared_batches[batch]]

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

    def images_of(self, batch: str) -> list[str]:
        """Image and mask files of images that are prepared together."""
        files = [
            file
            for each in self.prepared_batches[batch]
            for file in (each.image, each.mask, *each.channels.values())
        ]
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

    def subject_names(self, averaged: bool) -> list[str]:
        """Subjects with several sessions, or those whose one session is taken as it is."""
        chosen = [one for one in self.subjects.values() if one.is_averaged == averaged and not one.is_image]
        return [subject.key for subject in chosen]
