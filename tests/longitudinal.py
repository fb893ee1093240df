"""A made cohort with sessions: heads in known poses, with a structure that grows by a known factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.image import Image
from regcore.io.nifti import write_image
from regcore.space import Grid
from regcore.transforms import Affine

SIZE = 32
GRID = Grid((SIZE, SIZE, SIZE), np.diag([2.0, 2.0, 2.0, 1.0]))
MIDDLE = np.array([31.0, 31.0, 31.0])
SESSIONS = {"a": ["1", "2", "10"], "b": ["1", "2"], "c": ["1"], "d": [None]}
GROWTH = {"1": 1.0, "2": 1.2, "10": 1.4}
"""Volume of the inner structure at each session, over that at the first."""

COARSE: dict[str, Any] = {
    "name": "coarse",
    "repeats": 2,
    "linear": [{"model": "rigid", "metric": "mi", "shrink": [4], "iterations": [40], "rotations_deg": 15}],
}
RIGID: dict[str, Any] = {
    "name": "rigid",
    "repeats": 8,
    "linear": [
        {"model": "rigid", "metric": "ncc", "shrink": [2, 1], "iterations": [30, 15], "rotations_deg": 0}
    ],
}
GROWING: dict[str, Any] = {
    "name": "growth",
    "repeats": 3,
    "deformable": {"metric": "lncc", "radius": 2, "shrink": [2, 1], "iterations": [20, 20]},
}
CONFIG: dict[str, Any] = {
    "cohort": {"source": "cohort.tsv"},
    "targets": ["sessions", "tables"],
    "sessions": {"stages": [COARSE, RIGID, GROWING]},
}

Array = npt.NDArray[np.float64]


def pose(seed: int) -> Affine:
    """A small rotation about the middle and a shift: world of a session to world of the head."""
    generator = np.random.default_rng(seed)
    return Affine.from_parameters(
        translation=tuple(generator.uniform(-3, 3, 3)),
        rotation=tuple(generator.uniform(-0.08, 0.08, 3)),
        centre=tuple(MIDDLE),
    )


def head(points: Array, growth: float, shape: float) -> tuple[Array, npt.NDArray[np.int32]]:
    """Intensities and labels of a head at world points: body 1, structure 2 that grows, a fixed nucleus 3."""
    x = (points - MIDDLE) / (0.85, 1.1 + shape, 1.0)
    radius = np.sqrt((x**2).sum(axis=-1)) + 0.8 * np.sin(x[..., 0] / 5) + 0.5 * np.cos(x[..., 1] / 4)
    grown = np.sqrt(((x - (6.0, 2.0, 0.0)) ** 2).sum(axis=-1)) / np.cbrt(growth)
    fixed = np.sqrt(((x - (-9.0, -5.0, 4.0)) ** 2).sum(axis=-1))

    def ball(distance: Array, size: float) -> Array:
        return 1 / (1 + np.exp(2.0 * (distance - size)))

    image = 500 * ball(radius, 23.0) + 350 * ball(grown, 8.0) - 300 * ball(fixed, 4.5)
    image += 60 * np.sin(x[..., 0] / 3) * np.cos(x[..., 2] / 4) * ball(radius, 21.0)
    labels = np.where(grown < 8.0, 2, np.where(fixed < 4.5, 3, (radius < 23.0).astype(int)))
    return image, labels.astype(np.int32)


def write_session(stem: Path, growth: float, shape: float, motion: Affine, seed: int) -> None:
    """Image, labels and dose of a session below names that start with `stem`."""
    voxels = np.stack(np.meshgrid(*(np.arange(SIZE),) * 3, indexing="ij"), axis=-1)
    points = motion(GRID.to_world(voxels.reshape(-1, 3))).reshape(*GRID.shape, 3)
    image, labels = head(points, growth, shape)
    image += np.random.default_rng(seed).normal(0, 4, image.shape)
    dose = 2.0 * np.exp(-((points - MIDDLE - (6.0, 2.0, 0.0)) ** 2).sum(axis=-1) / (2 * 9.0**2))
    write_image(f"{stem}.nii.gz", Image(image.astype(np.float32), GRID))
    write_image(f"{stem}_dseg.nii.gz", Image(labels, GRID))
    write_image(f"{stem}_dose.nii.gz", Image(dose.astype(np.float32), GRID))


def write_cohort(folder: Path) -> Path:
    """Table of four subjects with three, two, one and no named session; returns its path."""
    rows = ["participant_id\tsession_id\timage\tlabels\tdose\tage"]
    for number, (subject, sessions) in enumerate(SESSIONS.items()):
        for visit, session in enumerate(sessions):
            name = f"{subject}{session or ''}"
            motion = pose(10 * number + visit)
            shape = 0.06 * (number - 1.5)
            write_session(folder / name, GROWTH[session or "1"], shape, motion, number + 100 * visit)
            # the last session of a subject has no labels of its own
            labels = "n/a" if session == "10" else f"{name}_dseg.nii.gz"
            rows.append(
                f"sub-{subject}\t{f'ses-{session}' if session else 'n/a'}\t{name}.nii.gz\t{labels}"
                f"\t{name}_dose.nii.gz\t{40 + number + 2 * visit}"
            )
    table = folder / "cohort.tsv"
    table.write_text("\n".join(rows) + "\n")
    return table


def surface(radius: float = 20.0) -> Array:
    """World points of the head spread over a sphere about its middle."""
    steps = np.arange(200)
    height, turn = 1 - 2 * (steps + 0.5) / 200, steps * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.asarray(MIDDLE + radius * np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=-1))
