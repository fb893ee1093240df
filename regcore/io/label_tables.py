"""What the values of a label image mean: tables that come with it, for BIDS and for ITK-SNAP."""

from __future__ import annotations

import colorsys
import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from regcore.errors import InputError
from regcore.io.tables import cell, read_rows, require_columns, write_text

COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
LABEL_COLUMNS = {
    "index": {"Description": "Value in the label image"},
    "name": {"Description": "Name of the structure"},
    "color": {"Description": "Colour to show it in, hexadecimal RGB"},
}
SNAP_HEADER = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""


@dataclass(frozen=True)
class LabelTable:
    """Names and colours of labels, by their value.

    Parameters
    ----------
    names : mapping of int to str
    colours : mapping of int to str
        Hexadecimal RGB, such as ``#ff8000``.

    Examples
    --------
    >>> table = LabelTable({4: "Ventricle"})
    >>> table.name(4), table.name(5), table.colour(4) == table.colour(5)
    ('Ventricle', 'label-5', False)
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, str] = field(default_factory=dict)

    def name(self, label: int) -> str:
        """Name of a label, ``label-<number>`` where it has none."""
        return self.names.get(label, f"label-{label}")

    def colour(self, label: int) -> str:
        """Colour of a label; one that its number gives where the table has none."""
        if label in self.colours:
            return self.colours[label]
        # steps of the golden ratio keep the hues of neighbouring numbers apart
        hue = label * 0.6180339887 % 1.0
        tone = ((0.55, 1.0), (0.85, 0.85), (0.4, 0.75))[label % 3]
        return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hsv_to_rgb(hue, *tone))


def read_label_table(path: str | os.PathLike[str]) -> LabelTable:
    """Read a BIDS ``dseg.tsv`` with the columns ``index`` and ``name``, and ``color`` where it has one.

    Parameters
    ----------
    path : path
        TSV or CSV file.

    Returns
    -------
    LabelTable
        In the order of the file.

    Raises
    ------
    InputError
        If a column is missing, an index is not a whole number or appears twice, or a colour is none.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    require_columns(path, columns, ("index", "name"))
    names: dict[int, str] = {}
    colours: dict[int, str] = {}
    for line, row in rows:
        try:
            index = int(row["index"])
        except ValueError as error:
            raise InputError(
                f"{path}, line {line}: expected a whole number as index, found {row['index'][:40]!r}"
            ) from error
        if index in names:
            raise InputError(f"{path}, line {line}: expected each index once, found {index} again")
        names[index] = row["name"]
        colour = row.get("color", "")
        if COLOUR.fullmatch(colour):
            colours[index] = colour.lower()
    return LabelTable(names, colours)


def write_label_tables(image: str | os.PathLike[str], present: Iterable[int], table: LabelTable) -> None:
    """Write ``_dseg.tsv`` (BIDS) and ``_dseg.label`` (ITK-SNAP label descriptions) of a label image.

    Parameters
    ----------
    image : path
        The label image, ``.nii.gz``; the tables go beside it.
    present : iterable of int
        Labels to describe, in this order.
    table : LabelTable

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_label_tables(Path(folder) / "a_dseg.nii.gz", [4], LabelTable({4: "Left"}, {4: "#ff8000"}))
    ...     print((Path(folder) / "a_dseg.label").read_text().splitlines()[-1].strip())
    4   255  128    0        1  1  1    "Left"
    """
    labels = list(present)
    image = Path(image)
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    writer.writerows((label, cell(table.name(label)), table.colour(label)) for label in labels)
    write_text(image.with_name(f"{stem}.tsv"), text.getvalue())
    snap = SNAP_HEADER
    for label in labels:
        red, green, blue = bytes.fromhex(table.colour(label)[1:])
        name = cell(table.name(label)).replace('"', "'")
        snap += f'{label:>5} {red:>5} {green:>4} {blue:>4}        1  1  1    "{name}"\n'
    write_text(image.with_name(f"{stem}.label"), snap)
