"""Tables that come with label images, read as other programs read them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regcore.io.label_tables import LabelTable, read_label_table, write_label_tables

SNAP_ROW = re.compile(
    r"\s*(?P<index>\d+)"
    r"\s+(?P<red>\d+)\s+(?P<green>\d+)\s+(?P<blue>\d+)\s+(?P<alpha>\d(?:\.\d+)?)"
    r'\s+(?P<visible>[01])\s+(?P<mesh>[01])\s+"(?P<name>[^"]+)"'
)
CLEAR = (0, "#000000", 0.0, (0, 0), "Clear Label")

Row = tuple[int, str, float, tuple[int, int], str]


def snap_rows(path: Path) -> list[Row]:
    """Every row of an ITK-SNAP label description: index, colour, alpha, (visible, in the mesh), name."""
    rows = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        found = SNAP_ROW.fullmatch(line)
        assert found is not None, line
        parts = [int(found[name]) for name in ("red", "green", "blue")]
        assert max(parts) < 256, line
        colour = "#" + "".join(f"{part:02x}" for part in parts)
        shown = int(found["visible"]), int(found["mesh"])
        rows.append((int(found["index"]), colour, float(found["alpha"]), shown, found["name"]))
    return rows


def expected(labels: dict[int, tuple[str, str]]) -> list[Row]:
    """What the file has to say: nothing is drawn of the background, and all of every label."""
    return [CLEAR, *((index, colour, 1.0, (1, 1), name) for index, (name, colour) in labels.items())]


def test_every_row_of_a_label_description(tmp_path: Path) -> None:
    """Given colours are kept, others made; no name can break a row."""
    names = {4: 'the "left"\tside', 17: "#1", 200: "Lobe, frontal  (ä)", 12175: "=1+1"}
    table = LabelTable(names, {4: "#ff8000", 200: "#000102"})
    write_label_tables(tmp_path / "a_dseg.nii.gz", [4, 17, 200, 12175, 9], table)
    assert snap_rows(tmp_path / "a_dseg.label") == expected(
        {
            4: ("the 'left' side", "#ff8000"),
            17: ("#1", table.colour(17)),
            200: ("Lobe, frontal  (ä)", "#000102"),
            12175: ("'=1+1", table.colour(12175)),
            9: ("label-9", table.colour(9)),
        }
    )


def test_labels_of_a_study_come_with_tables(finished: Path) -> None:
    images = sorted(finished.rglob("*_dseg.nii.gz"))
    assert len(images) > 4
    for image in images:
        table = read_label_table(image.with_name(image.name.replace(".nii.gz", ".tsv")))
        assert list(table.names) == list(table.colours) == [1, 2], image
        both = {index: (name, table.colours[index]) for index, name in table.names.items()}
        assert snap_rows(image.with_name(image.name.replace(".nii.gz", ".label"))) == expected(both), image


@pytest.mark.parametrize("row", ['1 255 0 0 1 1 1 "a"b"', '1 256 0 0 1 1 1 "a"', "1 0 0 0 1 1 1 a", ""])
def test_broken_descriptions_are_noticed(tmp_path: Path, row: str) -> None:
    (tmp_path / "a.label").write_text(row + "\n")
    with pytest.raises(AssertionError):
        snap_rows(tmp_path / "a.label")
