"""Every kind of case: what is made, and who reads it."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from regcore.errors import InputError
from regcore.io.arrays import read_arrays
from regcore.io.cohort import read_cohort
from regcore.io.itk import read_transform
from regcore.io.label_tables import LabelTable, read_label_table, write_label_tables
from regcore.io.landmarks import read_landmarks
from regcore.io.nifti import read_grid, read_image, read_labels, read_mask
from regcore.io.screen import screen_image
from regcore.io.tables import read_yaml, write_table
from regcore.qc.report import ReportData, build_report
from regcore.study.atlases import read_atlases
from regcore.study.config import Study
from regcore.study.manifest import read_manifest
from regcore.study.outputs import Layout
from regcore.study.plan import Plan
from regcore.study.planning.pairs import endpoint_name
from tests.fuzz.damage import HARMFUL, bomb, damaged, hostile_text, hostile_yaml, lying_nifti, resealed
from tests.fuzz.guard import ViolationError
from tests.fuzz.seeds import seeds

Read = Callable[[Path], object]
FILE_NAME = re.compile(r"[A-Za-z0-9+_.-]{1,255}")
ROOT = Path("results")


@dataclass(frozen=True)
class Kind:
    """Strategy of a kind of case, its reader, and its share of all cases."""

    name: str
    content: st.SearchStrategy[tuple[str, bytes]]
    read: Read
    share: float = 1.0
    beside: dict[str, bytes] = field(default_factory=dict)


def image(path: Path) -> None:
    """Every reader of images; what comes back is finite and lies on its grid."""
    grid = read_grid(path)
    read = read_image(path)
    if read.data.shape != grid.shape or read.data.dtype != np.float32 or not np.isfinite(read.data).all():
        raise ViolationError("an image that is not what read_image promises")
    screen_image(path)
    for reader in (read_labels, read_mask):
        try:
            reader(path)
        except InputError:
            continue


def transform(path: Path) -> None:
    """A transform that is read maps points to finite numbers or says why not."""
    read_transform(path)


def cohort(path: Path) -> None:
    """Members whose files all lie below the results."""
    members = read_cohort(path)
    study = Study.from_dict(
        {"cohort": {"source": str(path)}, "template": {"stages": [{"name": "a", "linear": [{}]}]}}
    )
    plan = Plan(study, members)
    for key in plan.keys:
        published = Layout(ROOT).forward(key)
        if not all(FILE_NAME.fullmatch(part) and part not in ("..", ".") for part in published.parts):
            raise ViolationError(f"a member named {key!r} is published as {published}")
    plan.covariates()


def atlases(path: Path) -> None:
    """Atlases whose identifiers are part of file names."""
    for atlas in read_atlases(path):
        if not FILE_NAME.fullmatch(atlas.key):
            raise ViolationError(f"an atlas named {atlas.key!r}")


def study(path: Path) -> None:
    """A configuration, as far as it gets without images."""
    Study.from_dict(read_yaml(path))


def names(path: Path) -> None:
    """Label tables, read and written again."""
    table = read_label_table(path)
    written(path, lambda target: write_label_tables(target, table.names, table), (".tsv", ".label"))


def table(path: Path) -> None:
    """Covariates as they come, written as a table: no formula, as many rows and cells as there were."""
    text = path.read_text("utf-8", "surrogatepass").encode("utf-8", "replace").decode()
    cells = text.split("\x01")
    frame = pd.DataFrame({"participant_id": ["sub-01"] * len(cells), cells[0] or "x": cells, "value": 1.5})
    labels = LabelTable(dict(enumerate(cells)), {})
    written(path, lambda target: write_table(target.with_suffix(".tsv"), frame, {}), (".tsv", ".json"))
    written(path, lambda target: write_label_tables(target, range(len(cells)), labels), (".tsv", ".label"))


def written(path: Path, write: Callable[[Path], object], endings: tuple[str, str]) -> None:
    """Write beside a case, look for formulas and broken rows, and remove it again."""
    target = path.with_name("out.nii.gz")
    files = [target.with_name(f"out{ending}") for ending in endings]
    if endings[1] == ".json":
        files = [target.with_suffix(ending) for ending in endings]
    try:
        write(target)
        rows = list(csv.reader(io.StringIO(files[0].read_text("utf-8"), newline=""), delimiter="\t"))
        if len({len(row) for row in rows}) != 1:
            raise ViolationError("a table whose rows have different numbers of cells")
        for cell in (cell for row in rows for cell in row):
            if re.match(r"[=@\t\r]|[+-](?!$)(?![\d.])", cell):
                raise ViolationError(f"a table with the formula {cell!r}")
    finally:
        for file in files:
            file.unlink(missing_ok=True)


class Skeleton(HTMLParser):
    """Elements and the names of their attributes; texts and values are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        links = [
            str(value)
            for name, value in attrs
            if name in ("href", "src") and not str(value).startswith(("#", "data:"))
        ]
        self.parts.append((tag, *(name for name, _ in attrs), *links))

    def handle_endtag(self, tag: str) -> None:
        self.parts.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.parts.append(("comment",))


def skeleton(text: str) -> list[tuple[str, ...]]:
    """Structure of the report in which one text stands wherever a user can put one."""
    frame = pd.DataFrame({"participant_id": [text, "sub-02"], text or "x": ["1", text]})
    quarantine = pd.DataFrame(
        {"participant_id": [text], "session_id": [text], "image": [text], "stage": [text], "reason": [text]}
    )
    data = ReportData(
        title=text,
        versions={"numpy": text},
        settings={"cohort": {"source": text, "entities": {text: text}}},
        cohort=frame,
        quarantine=quarantine,
        members=[(text, b"\x89PNG"), ("sub-02", b"\x89PNG")],
        outputs=pd.DataFrame({"path": [text], "description": [text]}),
    )
    parser = Skeleton()
    parser.feed(build_report(data))
    parser.close()
    return parser.parts


PLAIN = skeleton("plain")


def report(path: Path) -> None:
    """The report has the same elements whatever the texts are."""
    text = path.read_text("utf-8", "surrogatepass").encode("utf-8", "replace").decode()
    if skeleton(text) != PLAIN:
        raise ViolationError(f"the text {text!r} changed the elements of the report")


def file_name(path: Path) -> None:
    """Names of image files outside the cohort become parts of file names."""
    for text in path.read_text("utf-8", "surrogatepass").split("\x01"):
        name = endpoint_name(text)
        if not re.fullmatch(r"[A-Za-z0-9-]{1,80}", name):
            raise ViolationError(f"{text!r} gives the file name {name!r}")


def _packed(draw_content: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return draw_content.map(partial(gzip.compress, compresslevel=1))


def _of(
    kind: str, change: Callable[[bytes], st.SearchStrategy[bytes]]
) -> st.SearchStrategy[tuple[str, bytes]]:
    return st.sampled_from(seeds()[kind]).flatmap(lambda seed: st.tuples(st.just(seed[0]), change(seed[1])))


def _texts(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
    text = st.sampled_from(HARMFUL) | st.text(max_size=60)
    joined = st.lists(text, min_size=1, max_size=4).map(
        lambda parts: "\x01".join(parts).encode("utf-8", "surrogatepass")
    )
    return st.tuples(st.just(name), joined)


IMAGE = {"a.nii": seeds()["nifti"][0][1]}
FIRST_NIFTI = seeds()["nifti"][0][1]
KINDS = [
    Kind("NIfTI, damaged", _of("nifti", damaged), image, 4),
    Kind("NIfTI, lying header", st.tuples(st.just("a.nii"), lying_nifti(FIRST_NIFTI)), image, 6),
    Kind("NIfTI packed, damaged", _of("nifti_packed", damaged), image, 4),
    Kind(
        "NIfTI packed, lying header",
        st.tuples(st.just("a.nii.gz"), _packed(lying_nifti(FIRST_NIFTI))),
        image,
        4,
    ),
    Kind("NIfTI, decompression bomb", st.tuples(st.just("a.nii.gz"), bomb(FIRST_NIFTI)), image, 0.1),
    Kind("MetaImage, damaged", _of("metaimage", damaged), image, 0.01),
    Kind("NRRD, damaged", _of("nrrd", damaged), image, 0.01),
    Kind("transform in HDF5, ours, damaged", _of("hdf5_ours", damaged), transform, 4),
    Kind("transform in HDF5, seal forged", _of("hdf5_ours", resealed), transform, 3),
    Kind("transform in HDF5, foreign, damaged", _of("hdf5_foreign", damaged), transform, 0.02),
    Kind("transform as text", _of("itk_text", hostile_text), transform, 2),
    Kind("transform of MATLAB, damaged", _of("itk_matlab", damaged), transform, 2),
    Kind("transform as image, damaged", _of("itk_field_image", damaged), transform, 2),
    Kind("arrays, damaged", _of("arrays", damaged), read_arrays, 2),
    Kind("cohort table", _of("cohort", hostile_text), cohort, 3, IMAGE),
    Kind("atlas table", _of("atlas_table", hostile_text), atlases, 2, IMAGE),
    Kind("label table", _of("label_table", hostile_text), names, 2),
    Kind("landmarks", _of("landmarks", hostile_text), read_landmarks, 3),
    Kind("manifest", _of("json", hostile_text), lambda path: read_manifest(path.parent), 2),
    Kind("configuration", _of("yaml", hostile_yaml), study, 2),
    Kind("tables written", _texts("a.txt"), table, 1),
    Kind("report written", _texts("a.txt"), report, 0.05),
    Kind("file names made", _texts("a.txt"), file_name, 2),
]


def kind_named(name: str) -> Kind:
    """The kind of this name."""
    return next(kind for kind in KINDS if kind.name == name)


__all__: list[Any] = ["KINDS", "Kind", "kind_named"]
