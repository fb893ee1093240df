"""What a person decided about members: a table that is read, honoured and never written by the workflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from regcore.errors import InputError
from regcore.io.tables import MISSING, read_rows, require_columns
from regcore.registration.settings import LINEAR_MODELS, RegistrationSettings
from regcore.study.config import existing_path, find_participants
from regcore.study.settings import registration_settings

ACTIONS = ("keep", "exclude", "retry")
COLUMNS = ("participant", "action", "preset", "reason", "who", "when")


@dataclass(frozen=True)
class Override:
    """Decision about one member, as far as the build depends on it: the words of a person are left out.

    Parameters
    ----------
    action : {"keep", "exclude", "retry"}
        Weigh in full whatever the measures say; weigh nothing; register with other settings.
    registration : RegistrationSettings, optional
        Of a retry.
    preset : str
        Name of these settings.
    """

    action: str
    registration: RegistrationSettings | None = None
    preset: str = ""

    @property
    def weight(self) -> float | None:
        """Weight that the decision fixes; None leaves it to the rule."""
        return {"keep": 1.0, "exclude": 0.0}.get(self.action)

    @property
    def words(self) -> str:
        """The decision as a reason for a table."""
        return f"override: {self.action}" + (f" with preset {self.preset}" if self.preset else "")


NO_OVERRIDES: Mapping[str, Override] = MappingProxyType({})


def read_overrides(
    path: str | os.PathLike[str], keys: Sequence[str], alias: Callable[[str], str] = str
) -> dict[str, Override]:
    """Decisions by member.

    Parameters
    ----------
    path : path
        Table with the columns `participant` and `action`, `preset` where an action is retry, and optional
        `reason`, `who`, `when`.
    keys : sequence of str
        Members of the cohort. A participant stands for all sessions, ``sub-01_ses-02`` for one; where
        sessions become a subject first, it stands for the subject.
    alias : callable
        Name of a participant in this study: its pseudonym, where it has one.

    Raises
    ------
    InputError
        For an unknown participant, action or preset, and a member that is decided about twice.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pathlib.Path(folder) / "overrides.tsv"
    ...     _ = table.write_text("participant\\taction\\nsub-01\\texclude\\n")
    ...     read_overrides(table, ["sub-01", "sub-02"])
    {'sub-01': Override(action='exclude', registration=None, preset='')}
    """
    existing_path(os.fspath(path), "qc.overrides")
    columns, rows = read_rows(path)
    require_columns(path, columns, ("participant", "action"))
    found: dict[str, Override] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        action = row["action"].lower()
        if action not in ACTIONS:
            raise InputError(f"{where}: expected one of {', '.join(ACTIONS)}, found {row['action']!r}")
        try:
            members = _members(alias(row["participant"]), keys)
        except InputError:
            raise InputError(
                f"{where}: expected a participant of the cohort, found {row['participant']!r}"
            ) from None
        override = Override(action)
        name = row.get("preset", "")
        if action == "retry":
            if name in ("", MISSING):
                raise InputError(f"{where}: expected the name of a preset to retry with, found none")
            override = Override(action, registration_settings(f"{where}", name), name)
        for key in members:
            if key in found:
                raise InputError(f"{where}: expected each member once, found {key} again")
            found[key] = override
    return found


def override_rows(
    path: str | os.PathLike[str], keys: Sequence[str], alias: Callable[[str], str] = str
) -> list[dict[str, Any]]:
    """The words of the table too, for people: `keys` of the members of each row and its columns."""
    return [
        {"keys": _members(alias(row["participant"]), keys)}
        | {name: "" if row.get(name, MISSING) == MISSING else row[name] for name in COLUMNS[1:]}
        | {"action": row["action"].lower()}
        for _, row in read_rows(path)[1]
    ]


def _members(name: str, keys: Sequence[str]) -> list[str]:
    full = name if name.startswith("sub-") else f"sub-{name}"
    return [full] if full in keys else find_participants([name], keys, "")


def retry_settings(stage: RegistrationSettings, preset: RegistrationSettings) -> RegistrationSettings:
    """Settings of a stage with what a preset says instead; what moves is still what the stage moves.

    A stage with linear parts takes those of the preset, up to the stage's own most general model, and one
    with a deformable part takes the preset's, as far as the preset has them.

    Examples
    --------
    >>> rigid = registration_settings("", "rigid")
    >>> [each.model for each in retry_settings(rigid, registration_settings("", "t1-brain")).linear]
    ['rigid']
    """
    most = max((LINEAR_MODELS.index(each.model) for each in stage.linear), default=-1)
    linear = tuple(each for each in preset.linear if LINEAR_MODELS.index(each.model) <= most)
    deformable = stage.deformable and (preset.deformable or stage.deformable)
    return replace(preset, linear=linear or stage.linear, deformable=deformable)
