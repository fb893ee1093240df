"""The images that are measured on, which are registered to which, and how: the rows of the benchmark."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from regcore.errors import InputError

ATLASES = ("IXI012", "IXI048", "IXI260", "IXI385", "IXI577")
TEMPLATE_MEMBERS = 8


@dataclass(frozen=True)
class Row:
    """A row of the benchmark.

    Parameters
    ----------
    name : str
    count : int
        How many pairs it has.
    preset : str
        Of regcore.
    task : {"full", "crop", "deformable", "rigid", "lung"}
        Affine and deformable; the same on images of few voxels; deformable alone, where the images are
        aligned; rigid across modalities; affine and deformable within masks, on CT. Every peer has its
        settings for each.
    accuracy : {"dice", "tre_mm", "error_mm"}
        What it is judged by (see `score`).
    repeats : int, optional
        How often a pair is timed, where so few pairs or so short runs need more than one for a median.
    """

    name: str
    count: int
    preset: str = "default"
    task: str = "full"
    accuracy: str = "dice"
    repeats: int = 1


ROWS = {
    row.name: row
    for row in (
        Row("brains", 12, preset="t1-brain"),
        Row("brains_1mm", 2, preset="t1-brain", task="deformable", repeats=3),
        Row("hippocampus", 20, preset="small-crop", task="crop"),
        Row("mouse", 8, preset="mouse"),
        Row("lung", 1, preset="ct-lung", task="lung", accuracy="tre_mm", repeats=3),
        Row("multimodal", 4, preset="multimodal-rigid", task="rigid", accuracy="error_mm"),
        Row("icbm", 2, preset="t1-follow-up", task="deformable", accuracy="error_mm", repeats=3),
        Row("startup", 1, preset="default", task="crop", repeats=9),
    )
}
ATLAS = Row("atlas", 95)


@dataclass(frozen=True)
class Subject:
    """An image, and what is known of it: labels and mask on its grid, landmarks in its world."""

    name: str
    image: Path
    labels: Path | None = None
    mask: Path | None = None
    landmarks: Path | None = None


@dataclass(frozen=True)
class Pair:
    """Two subjects to register.

    Parameters
    ----------
    fixed, moving : Subject
    truth : Path, optional
        Transform from the fixed to the moving image that a result is compared with.
    """

    fixed: Subject
    moving: Subject
    truth: Path | None = None

    @property
    def name(self) -> str:
        """Name of the folder of its results."""
        return f"{self.fixed.name}_{self.moving.name}"


def data_folder() -> Path:
    """Folder of the images, from the environment variable ``REGCORE_DATA``.

    Raises
    ------
    InputError
        If it is unset, or is no folder.
    """
    folder = Path(os.environ.get("REGCORE_DATA", ""))
    if not os.environ.get("REGCORE_DATA") or not folder.is_dir():
        found = os.environ.get("REGCORE_DATA", "")
        raise InputError(f"REGCORE_DATA: expected the folder of the benchmark images, found {found!r}")
    return folder.resolve()


def brains() -> list[Subject]:
    """The 24 heads of ``brains`` with their 148 labels, by name."""
    root = data_folder() / "brains"
    labels = root / "derivatives" / "dlmuse"
    return [
        Subject(
            folder.name.removeprefix("sub-"),
            folder / "anat" / f"{folder.name}_T1w.nii.gz",
            labels / folder.name / "anat" / f"{folder.name}_desc-muse_dseg.nii.gz",
        )
        for folder in sorted(root.glob("sub-*"))
    ]


def hippocampi() -> list[Subject]:
    """The 40 crops of ``hippocampus`` with their two labels, by name."""
    return _images_and_labels(data_folder() / "hippocampus")


def pairs(row: Row, made: Path, count: int | None = None) -> list[Pair]:
    """Pairs of a row, always the same ones in the same order.

    Parameters
    ----------
    row : Row
    made : Path
        Folder for the images that are not in the data folder but made (see `benchmarks.made`).
    count : int, optional
        How many; by default as many as the row has.

    Returns
    -------
    list of Pair
        Of a row of subjects with labels, subject i of the sorted names is fixed, and the one half the list
        further on moves.
    """
    from benchmarks import made as make

    found = {
        "brains": lambda: _half_apart(brains()),
        "brains_1mm": _both_ways,
        "lung": lambda: [make.lung_pair(made / "lung", data_folder() / "lung")],
        "multimodal": _sessions,
        "icbm": lambda: make.warped_heads(made / "icbm", row.count),
        "startup": lambda: [make.small_pair(made / "startup")],
        "atlas": atlas_pairs,
    }.get(row.name, lambda: _half_apart(_images_and_labels(data_folder() / row.name)))()
    return found[: min(count or row.count, row.count)]


def atlas_pairs() -> list[Pair]:
    """Each of the five atlases onto each of the other 19 subjects of ``brains``."""
    subjects = brains()
    atlases = [subject for subject in subjects if subject.name in ATLASES]
    targets = [subject for subject in subjects if subject.name not in ATLASES]
    return [Pair(target, atlas) for target in targets for atlas in atlases]


def _half_apart(subjects: list[Subject]) -> list[Pair]:
    if len(subjects) < 2:
        raise InputError(f"{data_folder()}: expected at least two images with labels, found {len(subjects)}")
    half = len(subjects) // 2
    return [Pair(subjects[i], subjects[(i + half) % len(subjects)]) for i in range(len(subjects))]


def _both_ways() -> list[Pair]:
    folder = data_folder() / "brains_1mm"
    first, second = (Subject(x, folder / f"{x}_T1w.nii.gz", folder / f"{x}_dseg.nii.gz") for x in "AB")
    return [Pair(first, second), Pair(second, first)]


def _sessions() -> list[Pair]:
    folder = data_folder() / "multimodal" / "patient12"
    found = []
    for session in ("study1", "study2"):
        flair = Subject(f"{session}_FLAIR", folder / f"{session}_FLAIR.nii.gz")
        for contrast in ("T1W", "T2W"):
            moving = Subject(contrast, folder / f"{session}_{contrast}.nii.gz")
            found.append(Pair(flair, moving, folder / f"{session}_{contrast}_intrastudy_to_FLAIR.txt"))
    return found


def _images_and_labels(folder: Path) -> list[Subject]:
    found = []
    for image in sorted((folder / "images").glob("*.nii.gz")):
        labels = folder / "labels" / image.name
        if labels.exists():
            found.append(Subject(image.name.removesuffix(".nii.gz"), image, labels))
    return found
