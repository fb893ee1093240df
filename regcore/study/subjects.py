"""Which sessions belong to a subject, and in what order; no image is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regcore.errors import InputError
from regcore.io.cohort import Covariate, Member, member_key
from regcore.study.settings import SessionsSettings


@dataclass(frozen=True)
class Subject:
    """A participant and its sessions, which together are one member of the population.

    Parameters
    ----------
    participant : str
        Identifier without ``sub-``.
    sessions : tuple of Member
        In the order of time.
    maps : dict
        Key of a session to its map to accumulate, where it has one.
    """

    participant: str
    sessions: tuple[Member, ...]
    maps: dict[str, str]

    @property
    def key(self) -> str:
        """Name in file names."""
        return member_key(self.participant, None)

    @property
    def keys(self) -> list[str]:
        """Of the sessions, in the order of time."""
        return [session.key for session in self.sessions]

    @property
    def is_averaged(self) -> bool:
        """Whether there are several sessions, and so a template of this subject."""
        return len(self.sessions) > 1

    @property
    def is_image(self) -> bool:
        """Whether its one image has no session and is the member itself."""
        return self.keys == [self.key]

    @property
    def labels(self) -> dict[str, str]:
        """Key of a session to its own label file, in the order of time."""
        return {each.key: os.fspath(each.labels) for each in self.sessions if each.labels is not None}

    def member(self, work: Path) -> Member:
        """The subject as a member of the population; its covariates are those of its first session.

        Labels of several sessions come together in a file below `work`.
        """
        first = self.sessions[0]
        if not self.is_averaged:
            return replace(first, session=None)
        labels = subject_labels(work / "prepared" / self.key) if self.labels else None
        return Member(self.participant, None, first.image, None, labels, first.covariates)


def subject_labels(folder: Path) -> Path:
    """Label file of a subject in the folder of its template."""
    return folder / f"{folder.name}_labels.nii.gz"


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key by which ``2`` comes before ``10``.

    Examples
    --------
    >>> sorted(["ses-10", "ses-2", "baseline"], key=natural)
    ['baseline', 'ses-2', 'ses-10']
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def group_sessions(members: Sequence[Member], settings: SessionsSettings, folder: Path) -> list[Subject]:
    """Put the images of a cohort together by participant.

    Parameters
    ----------
    members : sequence of Member
        Ordered by participant.
    settings : SessionsSettings
    folder : Path
        Where the relative paths of the maps to accumulate start.

    Returns
    -------
    list of Subject
        In the order of the participants.

    Raises
    ------
    InputError
        If a participant has images with and without a session, a session has no value to be ordered by,
        a column is not there, or a map is missing.

    Examples
    --------
    >>> ages = {"a": 9, "b": 8}
    >>> sessions = [Member("01", name, Path("a.nii"), covariates={"age": ages[name]}) for name in ages]
    >>> [subject.keys for subject in group_sessions(sessions, SessionsSettings(order_by="age"), Path("."))]
    [['sub-01_ses-b', 'sub-01_ses-a']]
    """
    for key, column in (("order_by", settings.order_by), ("accumulate", settings.accumulate)):
        if column is not None and not any(column in member.covariates for member in members):
            known = sorted({name for member in members for name in member.covariates})
            raise InputError(
                f"config sessions.{key}: expected a column of the cohort "
                f"({', '.join(known) or 'it has none'}), found {column!r}"
            )
    if settings.baseline != "first":
        wanted = settings.baseline.removeprefix("ses-")
        names = sorted({member.session for member in members if member.session is not None}, key=natural)
        if wanted not in names:
            raise InputError(
                f"config sessions.baseline: expected first or a session ({', '.join(names)}), "
                f"found {wanted!r}"
            )
    subjects = []
    for participant in dict.fromkeys(member.participant for member in members):
        sessions = [member for member in members if member.participant == participant]
        if len(sessions) > 1 and any(member.session is None for member in sessions):
            raise InputError(
                f"sub-{participant}: expected a session_id for each of its {len(sessions)} images, "
                "found one without"
            )
        maps = {} if settings.accumulate is None else _maps(sessions, settings.accumulate, folder)
        subjects.append(Subject(participant, tuple(_in_order(sessions, settings)), maps))
    return subjects


def _in_order(sessions: Sequence[Member], settings: SessionsSettings) -> list[Member]:
    column = settings.order_by
    if column is None:
        found = sorted(sessions, key=lambda member: natural(member.session or ""))
    else:
        for member in sessions:
            if len(sessions) > 1 and member.covariates.get(column) is None:
                raise InputError(
                    f"{member.key}: expected a value of {column} to order the sessions by, found none"
                )
        found = sorted(sessions, key=lambda member: _comparable(member.covariates.get(column)))
    hidden = settings.accumulate
    return [
        replace(each, covariates={name: value for name, value in each.covariates.items() if name != hidden})
        for each in found
    ]


def _comparable(value: Covariate) -> tuple[float, str]:
    """Numbers by size, text (dates) by its letters."""
    return (0.0, str(value)) if isinstance(value, str) or value is None else (float(value), "")


def _maps(sessions: Iterable[Member], column: str, folder: Path) -> dict[str, str]:
    found = {}
    for member in sessions:
        value = member.covariates.get(column)
        if value is None:
            continue
        path = folder / str(value)
        if not path.is_file():
            raise InputError(f"{member.key}: expected the {column} file {path}, found nothing there")
        found[member.key] = os.fspath(path)
    return found
