"""Pairs that are made: known warps of a real head, a CT pair as NIfTI for all tools, two small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.data import Pair, Subject
from regcore.demo.anatomy import read_map
from regcore.demo.cohort import random_velocity, velocity_grid
from regcore.image import Image
from regcore.io.itk import write_transform
from regcore.io.nifti import read_image, read_mask, write_image
from regcore.kernels.exponential import exponential
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Displacement

NOISE_SHARE = 0.02
"""Standard deviation of the noise of the warped heads, as a share of the brightest voxel."""


def warped_heads(folder: Path, count: int) -> list[Pair]:
    """The ICBM 2009a T1 at 1 mm, and itself under known smooth diffeomorphisms of the demo's kind.

    Either image has noise of its own, inside the brain.

    Parameters
    ----------
    folder : Path
        Keeps the images and the true transforms.
    count : int

    Returns
    -------
    list of Pair
        The warped head is fixed, the head moves; ``truth`` maps the one to the other.
    """
    pairs = [
        Pair(
            Subject(f"warp-{number}", folder / f"warp-{number}.nii.gz"),
            Subject("icbm", folder / "icbm.nii.gz"),
            folder / f"warp-{number}_truth.h5",
        )
        for number in range(1, count + 1)
    ]
    if all(pair.fixed.image.exists() for pair in pairs):
        return pairs
    head = read_map("t1")
    write_image(folder / "icbm.nii.gz", _noisy(head, 0), dtype="int16")
    for number, pair in enumerate(pairs, start=1):
        random = np.random.default_rng([2009, number])
        velocity = random_velocity(velocity_grid(), random)
        truth = Displacement(exponential(velocity), velocity_grid())
        write_transform(pair.truth, truth)
        write_image(
            pair.fixed.image, _noisy(resample(head, head.grid, truth, "cubic"), number), dtype="int16"
        )
    return pairs


def lung_pair(folder: Path, source: Path) -> Pair:
    """The CT pair with its masks as NIfTI, which every tool reads; landmarks as they came."""
    landmarks = {
        "baseline": "3DCT_lung_baseline_landmarks.txt",
        "followup": "3DCT_lung_groundtruth_point.txt",
    }
    subjects = []
    for name, points in landmarks.items():
        image, mask = folder / f"{name}.nii.gz", folder / f"{name}_mask.nii.gz"
        if not (image.exists() and mask.exists()):
            write_image(image, read_image(source / f"3DCT_lung_{name}.mha"), dtype="int16")
            write_image(mask, read_mask(source / f"3DCT_lung_{name}_mask.mha"), dtype="uint8")
        subjects.append(Subject(name, image, mask=mask, landmarks=source / points))
    return Pair(*subjects)


def small_pair(folder: Path) -> Pair:
    """Two blobs of 32 voxels a side, one a voxel from the other, with their outlines as labels."""
    subjects = [
        Subject(name, folder / f"{name}.nii.gz", folder / f"{name}_dseg.nii.gz")
        for name in ("fixed", "moving")
    ]
    if subjects[1].image.exists():
        return Pair(*subjects)
    grid = Grid((33, 33, 33), np.eye(4))
    distance = ((grid.world_points() - 16) ** 2).sum(axis=-1)
    texture = ndimage.gaussian_filter(np.random.default_rng(32).standard_normal(grid.shape), 2)
    blob = (np.exp(-distance / 100) * (1 + 5 * texture)).astype(np.float32)
    for subject, part in zip(subjects, (slice(0, 32), slice(1, 33)), strict=True):
        own = Grid((32, 32, 32), np.eye(4))
        write_image(subject.labels, Image((distance < 64)[part, part, part].astype(np.uint8), own))
        write_image(subject.image, Image(blob[part, part, part], own))
    return Pair(*subjects)


def _noisy(head: Image, seed: int) -> Image:
    noise = NOISE_SHARE * np.random.default_rng([1, seed]).standard_normal((2, *head.grid.shape))
    # Rician, as of a magnitude; outside the brain the head is black
    values = np.where(head.data > 0.05, np.hypot(np.maximum(head.data, 0) + noise[0], noise[1]), 0)
    return Image((1000 * values).astype(np.float32), head.grid)
