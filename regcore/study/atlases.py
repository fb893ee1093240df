"""Atlases: images whose labels are carried to others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regcore.errors import InputError
from regcore.io.cohort import IDENTIFIER
from regcore.io.files import is_file
from regcore.io.tables import read_table


@dataclass(frozen=True)
class Atlas:
    """An image with labels.

    Parameters
    ----------
    key : str
        Member key, or ``atlas-<id>`` of an atlas from the table.
    image, labels : Path
    is_member : bool
        Whether it belongs to the cohort.
    """

    key: str
    image: Path
    labels: Path
    is_member: bool


def read_atlases(path: Path) -> list[Atlas]:
    """Atlases of a table with the columns `atlas_id`, `image` and `labels`.

    Parameters
    ----------
    path : Path
        Relative paths in the table start at its folder.

    Returns
    -------
    list of Atlas

    Raises
    ------
    InputError
        If a column or a file is missing, or an identifier is not of letters and digits or appears twice.
    """
    frame = read_table(path)
    found: list[Atlas] = []
    for column in ("atlas_id", "image", "labels"):
        if column not in frame:
            raise InputError(
                f"{path}: expected a column {column}, found {', '.join(map(str, frame.columns))}"
            )
    for row, values in enumerate(frame.to_dict("records"), start=2):
        name = str(values["atlas_id"])
        files = [path.parent / str(values[column]) for column in ("image", "labels")]
        for column, file in zip(("image", "labels"), files, strict=True):
            if not is_file(file):
                raise InputError(f"{path} row {row} {column}: expected a file, found nothing at {file}")
        if not IDENTIFIER.fullmatch(name) or any(atlas.key == f"atlas-{name}" for atlas in found):
            raise InputError(
                f"{path} row {row} atlas_id: expected letters and digits, each once, found {name!r}"
            )
        found.append(Atlas(f"atlas-{name}", files[0], files[1], False))
    return found
