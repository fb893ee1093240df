"""Manifests: what a batch job says about each of its members, so that later jobs know whom to leave out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regcore.errors import DamagedFileError, InputError
from regcore.image import Image
from regcore.io.tables import read_json, write_json
from regcore.space import Grid
from regcore.study.integrity import seal_folder, verify_folder

Entry = dict[str, Any]
NAME = "manifest.json"


def good(**values: Any) -> Entry:
    """Entry of a member that went through."""
    return {"status": "ok", **values}


def set_aside(stage: str, reason: str, **values: Any) -> Entry:
    """Entry of a member that is left out from here on."""
    return {"status": "quarantined", "stage": stage, "reason": reason, **values}


def write_manifest(folder: Path, members: Mapping[str, Entry], published: Iterable[Path] = ()) -> None:
    """Write the manifest of a folder and its checksums; they come last: a folder with them is complete.

    The names of the transforms that the job published elsewhere go with it: who finds one damaged learns by
    them which job makes it again.
    """
    write_json(folder / NAME, {"members": dict(members), "published": [file.name for file in published]})
    seal_folder(folder)


def read_manifest(folder: Path) -> dict[str, Entry]:
    """Entries of all members of a folder.

    Raises
    ------
    DamagedFileError
        If the folder has no manifest, or one that is not as `write_manifest` wrote it.
    """
    try:
        entries: dict[str, Entry] = read_json(Path(folder) / NAME)["members"]
    except (InputError, KeyError, TypeError) as error:
        raise DamagedFileError(Path(folder) / NAME) from error
    return entries


def located(folders: Iterable[Path]) -> dict[str, tuple[Path, Entry]]:
    """Folder and entry of every member of several folders, whose files are about to be used.

    Raises
    ------
    DamagedFileError
        If a file of them is not as it was written.
    """
    folders = list(folders)
    for folder in folders:
        verify_folder(Path(folder))
    return {key: (Path(folder), entry) for folder in folders for key, entry in read_manifest(folder).items()}


def usable(folder: Path) -> Iterator[tuple[str, Entry]]:
    """Members of a folder that went through, with their entries."""
    for key, entry in read_manifest(folder).items():
        if entry["status"] == "ok":
            yield key, entry


def usable_members(folders: Iterable[Path], what: str) -> list[tuple[Path, str, Entry]]:
    """Folder, key and entry of every member that went through, refused if there is none."""
    found = [(Path(folder), key, entry) for folder in folders for key, entry in usable(folder)]
    if not found:
        raise InputError(f"{what}: expected at least one usable image, found none (see quarantine.tsv)")
    return found


def content_digest(image: Image) -> str:
    """SHA-256 of an image's voxels and grid, to know it again under any name."""
    return hashlib.sha256(image.data.tobytes() + image.grid.affine.tobytes()).hexdigest()


def by_content(folders: Iterable[Path]) -> list[Path]:
    """Folders of prepared images in an order that depends on their voxels alone, not on their names."""

    def digests(folder: Path) -> list[str]:
        return [str(entry.get("digest", "")) for entry in read_manifest(folder).values()]

    return sorted(folders, key=digests)


def nobody(folders: Iterable[Path]) -> bool:
    """Whether no member of these folders went through."""
    return not any(True for folder in folders for _ in usable(folder))


def grid_to_dict(grid: Grid) -> dict[str, Any]:
    """Plain values of a grid."""
    return {"shape": list(grid.shape), "affine": np.asarray(grid.affine).tolist()}


def grid_from_dict(values: Mapping[str, Any]) -> Grid:
    """Grid from the values of `grid_to_dict`.

    Examples
    --------
    >>> grid = Grid((2, 3, 4), np.diag([2.0, 2, 2, 1]))
    >>> grid_from_dict(grid_to_dict(grid)).matches(grid)
    True
    """
    shape = values["shape"]
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), np.array(values["affine"], np.float64))
