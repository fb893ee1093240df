"""Finding images in a BIDS folder.

A few lines of our own and not bids2table or pybids: a workflow indexes its cohort again at the start of every
job, where loading the BIDS schema and Arrow costs seconds and the listing of its folders milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from regcore.errors import InputError

EXTENSIONS = (".nii.gz", ".nii")
# values of the entity `space` that mean the grid of the image itself
NATIVE_SPACES = ("orig", "native", "individual", "T1w", "T2w")


@dataclass(frozen=True)
class SubjectFolder:
    """Folder ``sub-*`` or ``sub-*/ses-*`` of a BIDS data set; names with their prefix."""

    name: str
    session: str | None
    path: Path


def subject_folders(root: Path) -> Iterator[SubjectFolder]:
    """Every subject folder, and every session folder in it, in the order of their names.

    Parameters
    ----------
    root : Path
        BIDS data set, raw or derivative.
    """
    for name in _folders(root, "sub-"):
        path = root / name
        yield SubjectFolder(name, None, path)
        for session in _folders(path, "ses-"):
            yield SubjectFolder(name, session, path / session)


def parse_name(name: str) -> dict[str, str]:
    """Entities of a BIDS file name; the suffix under the key ``suffix``.

    Examples
    --------
    >>> parse_name("sub-01_run-1_T1w.nii.gz")
    {'sub': '01', 'run': '1', 'suffix': 'T1w'}
    """
    *parts, suffix = name.split(".", 1)[0].split("_")
    pairs = [part.split("-", 1) for part in parts]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2} | {"suffix": suffix}


def find_image(
    folder: SubjectFolder,
    suffix: str,
    entities: Mapping[str, str],
    prefer: Mapping[str, str] | None = None,
) -> Path | None:
    """Find the one image of a kind in the data type folders of a subject or session.

    Parameters
    ----------
    folder : SubjectFolder
        Where to look.
    suffix : str
        ``T1w``, ``dseg``...
    entities : mapping
        Entities that the file must have. Images resampled to another ``space`` are left out unless asked for.
    prefer : mapping, optional
        Entities of the raw image, which decide between several candidates.

    Returns
    -------
    Path or None
        None if there is none.

    Raises
    ------
    InputError
        If there are several.
    """
    candidates = [
        (path, found)
        for path, found in _images(folder)
        if found["suffix"] == suffix
        and all(found.get(key) == value for key, value in entities.items())
        and ("space" in entities or found.get("space", "orig") in NATIVE_SPACES)
    ]
    if len(candidates) > 1 and prefer is not None:
        wanted = {key: value for key, value in prefer.items() if key not in ("suffix", "desc")}
        same = [pair for pair in candidates if all(pair[1].get(k) == v for k, v in wanted.items())]
        candidates = same or candidates
    if len(candidates) > 1:
        names = ", ".join(path.name for path, _ in candidates)
        raise InputError(
            f"{folder.path}: expected one {suffix} image, found {len(candidates)} ({names}); "
            "name an entity that tells them apart, such as run or desc"
        )
    return candidates[0][0] if candidates else None


def label_names_file(labels: Path, root: Path | None = None) -> Path | None:
    """Find the table that names the labels of a ``_dseg`` image, by BIDS' inheritance principle.

    Parameters
    ----------
    labels : Path
        Label image.
    root : Path, optional
        Highest folder to look in, by default the one above ``sub-*``.

    Returns
    -------
    Path or None
        The closest ``*_dseg.tsv`` whose entities all agree with those of the image, None if there is none.
    """
    own = parse_name(labels.name)
    for folder in labels.parents:
        tables = []
        for entry in sorted(folder.glob("*dseg.tsv")):
            found = parse_name(entry.name)
            if found.items() <= own.items():
                tables.append((len(found), entry))
        if tables:
            return max(tables, key=lambda pair: pair[0])[1]
        below_subject = any(part.startswith("sub-") for part in folder.parts)
        if folder == root or (root is None and not below_subject):
            return None
    return None


def entities_text(entities: Mapping[str, str]) -> str:
    """Entities as in a file name.

    Examples
    --------
    >>> entities_text({"run": "1"})
    'run-1_'
    """
    return "".join(f"{key}-{value}_" for key, value in entities.items())


def _folders(path: Path, prefix: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(_printable(e) for e in entries if e.name.startswith(prefix) and e.is_dir())
    except OSError as error:
        raise InputError(f"{path}: expected a readable folder, found none ({error.strerror})") from error


def _printable(entry: os.DirEntry[str]) -> str:
    """Name of a file or folder, refused if no log, table or page could show it as it is."""
    if not entry.name.isprintable():
        raise InputError(f"{entry.path}: expected a printable name, found control characters or no UTF-8")
    return entry.name


def _images(folder: SubjectFolder) -> Iterator[tuple[Path, dict[str, str]]]:
    """Images in the data type folders (``anat``, ``dwi``...), with their entities."""
    start = folder.name if folder.session is None else f"{folder.name}_{folder.session}"
    for data_type in _folders(folder.path, ""):
        if data_type.startswith(("ses-", ".")):
            continue
        with os.scandir(folder.path / data_type) as entries:
            names = sorted(
                _printable(e)
                for e in entries
                if e.name.startswith(f"{start}_") and e.name.endswith(EXTENSIONS)
            )
        for name in names:
            yield folder.path / data_type / name, parse_name(name)
