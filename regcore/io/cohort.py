"""Who takes part: the members of a cohort, from a BIDS folder or from a table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regcore.errors import InputError
from regcore.io.bids import (
    SubjectFolder,
    entities_text,
    find_image,
    parse_name,
    subject_folders,
)
from regcore.io.files import is_file, is_folder
from regcore.io.tables import MISSING, read_rows, require_columns

Covariate = str | int | float | None

IDENTIFIER = re.compile(r"[A-Za-z0-9+]{1,64}")
ROLES = ("participant_id", "session_id", "image", "mask", "labels")
OBJECT = re.compile(r"[a-z][a-z0-9]*://")
NOTHING = ("", MISSING, "N/A", "NaN", "nan")


@dataclass(frozen=True)
class Member:
    """One image of a cohort and what is known about it.

    Parameters
    ----------
    participant : str
        Identifier without ``sub-``.
    session : str or None
        Identifier without ``ses-``.
    image : Path
        The image.
    mask, labels : Path or None
        On the grid of the image.
    covariates : dict
        The other columns of the table: numbers where the whole column is numbers, None where
        a value is missing.
    channels : dict
        Further images by their name, such as ``T2w``, that lie where the image does, on any grid.

    Examples
    --------
    >>> Member("01", "02", Path("a.nii.gz")).key
    'sub-01_ses-02'
    """

    participant: str
    session: str | None
    image: Path
    mask: Path | None = None
    labels: Path | None = None
    covariates: dict[str, Covariate] = field(default_factory=dict)
    channels: dict[str, Path] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of this member in file names, ``sub-01`` or ``sub-01_ses-02``."""
        return member_key(self.participant, self.session)


def member_key(participant: str, session: str | None) -> str:
    """BIDS prefix of a participant and an optional session.

    Examples
    --------
    >>> member_key("01", None)
    'sub-01'
    """
    return f"sub-{participant}" if session is None else f"sub-{participant}_ses-{session}"


def read_cohort(
    source: str | os.PathLike[str],
    suffix: str = "T1w",
    labels_from: str | os.PathLike[str] | None = None,
    labels_description: str | None = None,
    *,
    entities: Mapping[str, str] | None = None,
    masks_from: str | os.PathLike[str] | None = None,
    channels: Sequence[str] = (),
    stored: Callable[[str], str] | None = None,
) -> list[Member]:
    """List the members of a cohort in the order of their keys; no image is opened.

    Parameters
    ----------
    source : path
        A BIDS folder, whose ``participants.tsv`` (and ``sub-*_sessions.tsv``) gives the covariates; or a TSV
        or CSV file with ``participant_id`` and ``image``, optionally ``session_id``, ``mask``, ``labels``,
        and covariates in every other column. Relative paths in a table start at the folder of the table.
    suffix : str
        Which images of a BIDS folder: ``T1w``, ``T2w``, ``FA``...
    labels_from : path, optional
        BIDS derivatives folder with a ``_dseg`` image of the members, relative to `source` or to the working
        folder. Members without one have no labels.
    labels_description : str, optional
        Value of ``desc-`` of the labels, where the folder has several.
    entities : mapping, optional
        Which images where a subject has several, for example ``{"run": "1"}``.
    masks_from : path, optional
        BIDS derivatives folder with a ``desc-brain_mask`` or other ``_mask`` image of the members.
    channels : sequence of str
        Further images of each member: columns of the table, or suffixes in the BIDS folder. Members may lack
        them.
    stored : callable, optional
        Path of the local copy that an object such as ``s3://bucket/image.nii.gz`` in the table will have.
        Objects are refused without it.

    Returns
    -------
    list of Member

    Raises
    ------
    InputError
        If nothing is found, a file is missing, a member appears twice, a choice is ambiguous, or an
        identifier has other characters than letters, digits and ``+``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.nii").write_bytes(b"-")
    ...     table = Path(folder) / "cohort.tsv"
    ...     _ = table.write_text("participant_id\\timage\\tage\\nsub-01\\ta.nii\\t40\\n")
    ...     [(member.key, member.covariates) for member in read_cohort(table)]
    [('sub-01', {'age': 40})]
    """
    source = Path(source)
    if is_folder(source):
        members = _from_bids(
            source, suffix, labels_from, labels_description, entities or {}, masks_from, channels
        )
    elif is_file(source):
        members = _from_table(source, channels, stored)
    else:
        raise InputError(f"{source}: expected a BIDS folder or a table, found nothing there")
    for name in channels:
        if not any(name in member.channels for member in members):
            raise InputError(f"{source}: expected an image {name} of at least one member, found none")
    return sorted(members, key=lambda member: (member.participant, member.session or ""))


def identifier(text: str, prefix: str, where: str) -> str:
    """Identifier without its BIDS prefix, refused if it could be anything but part of a file name.

    Raises
    ------
    InputError
        If it has other characters than letters, digits and ``+``, or more than 64.

    Examples
    --------
    >>> identifier("sub-01", "sub-", "participants.tsv, line 2")
    '01'
    """
    bare = text.removeprefix(prefix)
    if not IDENTIFIER.fullmatch(bare):
        raise InputError(f"{where}: expected letters, digits and + as {prefix}<identifier>, found {text!r}")
    return bare


def typed(values: Iterable[str]) -> list[Covariate]:
    """Turn a column of text into numbers where every value is one; missing values become None.

    A code with a leading zero keeps the column text.

    Examples
    --------
    >>> typed(["1.5", "n/a", "2"]), typed(["1", "2"]), typed(["007", "12"]), typed(["M", "F"])
    ([1.5, None, 2.0], [1, 2], ['007', '12'], ['M', 'F'])
    """
    texts = [None if value in NOTHING else value for value in values]
    present = [text for text in texts if text is not None]
    if any(re.fullmatch(r"[+-]?0[0-9]+", text) for text in present):
        return list(texts)
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", text) for text in present):
        return [None if text is None else int(text) for text in texts]
    if all(re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text) for text in present):
        return [None if text is None else float(text) for text in texts]
    return list(texts)


def _from_table(path: Path, channels: Sequence[str], stored: Callable[[str], str] | None) -> list[Member]:
    columns, rows = read_rows(path)
    require_columns(path, columns, ("participant_id", "image", *channels))
    if not rows:
        raise InputError(f"{path}: expected a row for each image, found none")
    covariates = _covariates([name for name in columns if name not in channels], [row for _, row in rows])
    members: list[Member] = []
    lines: dict[str, int] = {}
    for (line, row), known in zip(rows, covariates, strict=True):
        where = f"{path}, line {line}"
        participant = identifier(row["participant_id"], "sub-", where)
        session_text = row.get("session_id", "")
        session = None if session_text in NOTHING else identifier(session_text, "ses-", where)
        key = member_key(participant, session)
        if key in lines:
            raise InputError(
                f"{where}: expected each participant and session once, found {key} as in line {lines[key]}"
            )
        lines[key] = line
        image = _listed_file(path.parent, row["image"], "image", where, stored)
        if image is None:
            raise InputError(f"{where}: expected the path of an image, found {row['image']!r}")
        mask, labels = (
            _listed_file(path.parent, row.get(role, ""), role, where, stored) for role in ("mask", "labels")
        )
        further = {name: _listed_file(path.parent, row[name], name, where, stored) for name in channels}
        present = {name: file for name, file in further.items() if file is not None}
        members.append(Member(participant, session, image, mask, labels, known, present))
    return members


def _listed_file(
    folder: Path, text: str, role: str, where: str, stored: Callable[[str], str] | None
) -> Path | None:
    if text in NOTHING:
        return None
    if not text.isprintable():
        raise InputError(f"{where}: expected a printable path as {role}, found {text!r}")
    if OBJECT.match(text):
        if stored is None:
            raise InputError(f"{where}: expected a file as {role}, found the address of an object: {text}")
        return Path(stored(text))
    path = folder / text
    if not is_file(path):
        raise InputError(f"{where}: expected the {role} file {path}, found nothing there")
    return path


def _from_bids(
    source: Path,
    suffix: str,
    labels_from: str | os.PathLike[str] | None,
    labels_description: str | None,
    entities: Mapping[str, str],
    masks_from: str | os.PathLike[str] | None,
    channels: Sequence[str],
) -> list[Member]:
    labels_folder, masks_folder = _derivatives(source, labels_from), _derivatives(source, masks_from)
    table = source / "participants.tsv"
    known = _bids_covariates(table, "participant_id", "sub-") if table.is_file() else {}
    wanted_labels = {} if labels_description is None else {"desc": labels_description}
    members: list[Member] = []
    for folder in subject_folders(source):
        where = str(folder.path)
        participant = identifier(folder.name, "sub-", where)
        session = None if folder.session is None else identifier(folder.session, "ses-", where)
        image = find_image(folder, suffix, entities)
        if image is None:
            continue
        covariates = dict(known.get(participant, {}))
        if session is not None:
            covariates.update(_session_covariates(source, folder.name, session))
        mask = _beside(masks_folder, folder, "mask", {}, image)
        labels = _beside(labels_folder, folder, "dseg", wanted_labels, image)
        prefer = parse_name(image.name)
        further = {name: find_image(folder, name, {}, prefer=prefer) for name in channels}
        present = {name: file for name, file in further.items() if file is not None}
        members.append(Member(participant, session, image, mask, labels, covariates, present))
    if not members:
        asked = f"sub-*/anat/sub-*_{entities_text(entities)}{suffix}.nii.gz"
        raise InputError(f"{source}: expected a BIDS folder with {asked}, found no such image")
    for role, derivatives in (("labels", labels_folder), ("mask", masks_folder)):
        if derivatives is not None and all(getattr(member, role) is None for member in members):
            raise InputError(f"{derivatives}: expected a {role} image of a member of {source}, found none")
    return members


def _derivatives(source: Path, folder: str | os.PathLike[str] | None) -> Path | None:
    """Folder of derivatives, inside the data set or else from the working folder."""
    if folder is None:
        return None
    for candidate in (source / folder, Path(folder)):
        if is_folder(candidate):
            return candidate
    raise InputError(f"{folder}: expected a folder in {source} or in the working folder, found none")


def _beside(
    derivatives: Path | None, folder: SubjectFolder, suffix: str, entities: Mapping[str, str], image: Path
) -> Path | None:
    """Derivative of one kind of the subject and session of a raw image."""
    if derivatives is None:
        return None
    parts = [part for part in (folder.name, folder.session) if part is not None]
    path = derivatives.joinpath(*parts)
    if not path.is_dir():
        return None
    return find_image(
        SubjectFolder(folder.name, folder.session, path), suffix, entities, prefer=parse_name(image.name)
    )


def _session_covariates(source: Path, subject: str, session: str) -> dict[str, Covariate]:
    table = source / subject / f"{subject}_sessions.tsv"
    if not table.is_file():
        return {}
    return _bids_covariates(table, "session_id", "ses-").get(session, {})


def _bids_covariates(path: Path, key: str, prefix: str) -> dict[str, dict[str, Covariate]]:
    """Covariates of each participant (or session), by identifier without prefix."""
    columns, rows = read_rows(path)
    require_columns(path, columns, (key,))
    covariates = _covariates(columns, [row for _, row in rows])
    found: dict[str, dict[str, Covariate]] = {}
    for (line, row), values in zip(rows, covariates, strict=True):
        name = identifier(row[key], prefix, f"{path}, line {line}")
        if name in found:
            raise InputError(f"{path}, line {line}: expected each {key} once, found {row[key]} again")
        found[name] = values
    return found


def _covariates(columns: list[str], rows: list[dict[str, str]]) -> list[dict[str, Covariate]]:
    names = [name for name in columns if name not in ROLES]
    by_column = {name: typed(row[name] for row in rows) for name in names}
    return [{name: by_column[name][index] for name in names} for index in range(len(rows))]
