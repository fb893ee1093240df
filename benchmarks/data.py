"""The images that are measured on, and which are registered to which."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from regcore.errors import InputError

ATLASES = ("IXI012", "IXI048", "IXI260", "IXI385", "IXI577")
TEMPLATE_MEMBERS = 8
PAIRS = {"brains": 12, "brains_1mm": 1, "hippocampus": 20, "mouse": 8}


@dataclass(frozen=True)
class Subject:
    """An image and its labels, on one grid."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class Pair:
    """Two subjects to register.

    Parameters
    ----------
    fixed, moving : Subject
    linear : bool
        Whether an affine registration comes first; False where they are affinely aligned already.
    """

    fixed: Subject
    moving: Subject
    linear: bool = True

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


def pairs(row: str, count: int | None = None) -> list[Pair]:
    """Pairs of a row of the benchmark, always the same ones in the same order.

    Parameters
    ----------
    row : {"brains", "brains_1mm", "hippocampus", "mouse"}
    count : int, optional
        How many; by default as many as the row has.

    Returns
    -------
    list of Pair
        Subject i of the sorted names is fixed, and the one half the list further on moves.
    """
    if row == "brains":
        subjects = brains()
    elif row == "brains_1mm":
        folder = data_folder() / row
        subjects = [Subject(x, folder / f"{x}_T1w.nii.gz", folder / f"{x}_dseg.nii.gz") for x in "AB"]
    else:
        subjects = _images_and_labels(data_folder() / row)
    if len(subjects) < 2:
        raise InputError(f"{data_folder() / row}: expected at least two images, found {len(subjects)}")
    wanted = min(count or PAIRS[row], len(subjects) if row != "brains_1mm" else 1)
    half = len(subjects) // 2
    return [
        Pair(subjects[i], subjects[(i + half) % len(subjects)], linear=row != "brains_1mm")
        for i in range(wanted)
    ]


def atlas_pairs() -> list[Pair]:
    """Each of the five atlases onto each of the other 19 subjects of ``brains``."""
    subjects = brains()
    atlases = [subject for subject in subjects if subject.name in ATLASES]
    targets = [subject for subject in subjects if subject.name not in ATLASES]
    return [Pair(target, atlas) for target in targets for atlas in atlases]


def _images_and_labels(folder: Path) -> list[Subject]:
    found = []
    for image in sorted((folder / "images").glob("*.nii.gz")):
        labels = folder / "labels" / image.name
        if labels.exists():
            found.append(Subject(image.name.removesuffix(".nii.gz"), image, labels))
    return found
