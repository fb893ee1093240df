"""Make the demo cohort: subjects that are the ICBM head under known smooth diffeomorphisms and poses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from regcore.demo.anatomy import STRUCTURES, Anatomy, load_anatomy
from regcore.errors import InputError
from regcore.image import Image
from regcore.io.itk import write_transform
from regcore.io.nifti import write_image
from regcore.io.tables import write_json, write_table, write_text
from regcore.kernels.exponential import exponential
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, Transform, split

Array = npt.NDArray[np.float64]

SUBJECTS = 8
SPACING_MM = 2.0
VELOCITY_SPACING_MM = 4.0
SMOOTH_MM = ((13.0, 3.0), (7.0, 0.7))
"""Sigma of the Gaussian and root mean square of the velocity along an axis, for each scale."""

ORIENTATIONS = ("RAS", "LAS", "PSR", "LPI", "RAS", "ASL", "LAS", "RPI")
VENTRICLE_CENTRES_MM = ((-16.0, -14.0, 18.0), (16.0, -14.0, 18.0))
VENTRICLE_RADIUS_MM = 20.0
GROWTH_PER_YEAR = 0.014
MEAN_AGE = 47.0


@dataclass(frozen=True)
class Subject:
    """One made subject.

    Parameters
    ----------
    name : str
        ``sub-01``.
    age : float
        Years.
    sex : str
    truth : Transform
        Subject world to ICBM world, RAS+ mm: ``subject(y) = icbm(truth(y))``.
    """

    name: str
    age: float
    sex: str
    truth: Transform


def make_demo(folder: Path, subjects: int = SUBJECTS, seed: int = 2009) -> Path:
    """Write the cohort, its labels, its truth and a config into `folder`.

    Parameters
    ----------
    folder : path
        Gets ``cohort/`` (BIDS; labels in ``derivatives/tissue``), ``truth/`` (transforms), ``config.yaml``.
    subjects : int
        How many, at least 2.
    seed : int
        The same seed makes the same cohort.

    Returns
    -------
    path
        `folder`.
    """
    folder = Path(folder)
    cohort, labels = folder / "cohort", folder / "cohort" / "derivatives" / "tissue"
    anatomy = load_anatomy()
    members = list(make_subjects(subjects, seed))
    for index, subject in enumerate(members):
        random = np.random.default_rng([seed, 1, index])
        image, segmentation = render(anatomy, subject.truth, ORIENTATIONS[index % len(ORIENTATIONS)], random)
        stem = f"{subject.name}/anat/{subject.name}"
        write_image(cohort / f"{stem}_T1w.nii.gz", image, dtype="int16")
        write_image(labels / f"{stem}_desc-tissue_dseg.nii.gz", segmentation, dtype="uint8")
        write_transform(
            folder / "truth" / f"{subject.name}_from-ICBM_to-T1w_mode-image_xfm.h5", subject.truth
        )
    _write_descriptions(cohort, labels, members)
    template = resources.files("regcore.demo").joinpath("config.yaml").read_text(encoding="utf-8")
    write_text(folder / "config.yaml", template.replace("FOLDER", folder.as_posix()))
    return folder


def make_subjects(count: int = SUBJECTS, seed: int = 2009) -> Iterator[Subject]:
    """Subjects with centred random poses and diffeomorphisms, so that ICBM is near their mean shape."""
    if count < 2:
        raise InputError(f"subjects: expected at least 2, found {count}")
    random = np.random.default_rng([seed, 0])
    grid = velocity_grid()
    poses = random.uniform(-1, 1, (count, 12))
    velocities = np.stack([random_velocity(grid, random) for _ in range(count)])
    poses -= poses.mean(axis=0)
    velocities -= velocities.mean(axis=0)
    ages = np.round(random.permutation(np.linspace(22, 72, count)) + random.uniform(-2, 2, count), 1)
    for index in range(count):
        grown = velocities[index] + ventricle_growth(grid, float(ages[index]))
        smooth = Displacement(exponential(grown.astype(np.float32)), grid)
        yield Subject(
            name=f"sub-{index + 1:02d}",
            age=float(ages[index]),
            sex="FM"[index % 2],
            truth=Chain((smooth, Affine(pose_matrix(poses[index])))),
        )


def velocity_grid() -> Grid:
    """Grid of the random velocities: the ICBM head with room around it."""
    affine = np.diag([VELOCITY_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = (-114, -150, -88)
    return Grid((58, 66, 57), affine)


def random_velocity(grid: Grid, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Smooth random velocity, shape (X, Y, Z, 3), voxels of `grid`, zero at the border."""
    velocity = np.zeros((*grid.shape, 3), np.float32)
    window = np.ones(grid.shape, np.float32)
    window[[0, -1]] = window[:, [0, -1]] = window[:, :, [0, -1]] = 0
    window = np.clip(ndimage.distance_transform_edt(window) / 5, 0, 1).astype(np.float32)[..., None]
    for sigma_mm, size_mm in SMOOTH_MM:
        noise = random.standard_normal((*grid.shape, 3)).astype(np.float32)
        sigma = sigma_mm / VELOCITY_SPACING_MM
        smooth = ndimage.gaussian_filter(noise, (sigma, sigma, sigma, 0))
        velocity += smooth * np.float32(size_mm / VELOCITY_SPACING_MM / smooth.std())
    return velocity * window


def ventricle_growth(grid: Grid, age: float) -> npt.NDArray[np.float32]:
    """Velocity that makes the ventricles of a subject larger with `age` (years), voxels of `grid`.

    The truth maps the subject to ICBM, so a larger ventricle is a map that contracts.
    """
    velocity = np.zeros((*grid.shape, 3))
    for centre in VENTRICLE_CENTRES_MM:
        offset = grid.world_points() - np.array(centre)
        distance = np.sqrt((offset**2).sum(axis=-1, keepdims=True))
        velocity -= offset * np.exp(-0.5 * (distance / VENTRICLE_RADIUS_MM) ** 2)
    return (velocity * GROWTH_PER_YEAR * (age - MEAN_AGE) / VELOCITY_SPACING_MM).astype(np.float32)


def pose_matrix(draw: Array) -> Array:
    """Affine from twelve numbers in [-1, 1]: up to 7 degrees, 8 mm, 6 % scale and 2 % shear, shape (4, 4)."""
    angles = np.radians(7.0) * draw[:3]
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    rotation = (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
    stretch = np.diag(np.exp(0.06 * draw[6:9]))
    stretch[0, 1], stretch[0, 2], stretch[1, 2] = 0.02 * draw[9:12]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ stretch
    matrix[:3, 3] = 8.0 * draw[3:6]
    return matrix


def render(
    anatomy: Anatomy, truth: Transform, orientation: str, random: np.random.Generator
) -> tuple[Image, Image]:
    """Image and labels of a subject on a 2 mm grid of its own.

    Parameters
    ----------
    anatomy : Anatomy
    truth : Transform
        Subject world to ICBM world, mm.
    orientation : str
        Axis codes of the stored voxels, such as ``PSR``.
    random : Generator
        Draws contrast, bias field and noise.
    """
    grid = subject_grid(anatomy, truth, orientation)
    # one displacement and one affine, so that all four maps take the fast path
    pulled = Chain(split(truth, grid))
    t1, grey, white = (
        resample(Image(channel, anatomy.grid), grid, pulled).data
        for channel in (anatomy.t1, anatomy.grey, anatomy.white)
    )
    labels = resample(Image(anatomy.labels, anatomy.grid), grid, pulled, "nearest").data

    intensity = t1 ** random.uniform(0.8, 1.3) + random.uniform(-0.05, 0.05) * grey
    intensity += random.uniform(-0.03, 0.06) * white
    bias = ndimage.zoom(
        random.uniform(-0.25, 0.25, (4, 4, 4)),
        np.array(grid.shape) / 4,
        order=3,
        mode="nearest",
        grid_mode=True,
    )
    noise = 0.02 * random.standard_normal((2, *grid.shape))
    # Rician: the magnitude of a complex signal with noise in both parts
    magnitude = np.hypot(np.maximum(intensity, 0) * np.exp(bias) + noise[0], noise[1])
    return (
        Image((magnitude * random.uniform(300, 1200)).astype(np.float32), grid),
        Image(labels.astype(np.int32), grid),
    )


def subject_grid(anatomy: Anatomy, truth: Transform, orientation: str) -> Grid:
    """2 mm grid that holds the subject's brain with 10 mm around it, its voxel axes as in `orientation`."""
    # the head's box goes through the pose alone: the smooth part stays within the margin
    icbm = np.array(np.nonzero(anatomy.labels)).T[::97]
    points = truth.inverse()(anatomy.grid.to_world(icbm))
    lower, upper = points.min(axis=0) - 10, points.max(axis=0) + 10
    shape = np.ceil((upper - lower) / SPACING_MM).astype(int) + 1
    affine = np.zeros((4, 4))
    affine[:3, 3], affine[3, 3] = lower, 1.0
    stored = []
    for axis, code in enumerate(orientation):
        world = "RAS".find(code) if code in "RAS" else "LPI".find(code)
        sign = 1.0 if code in "RAS" else -1.0
        affine[world, axis] = sign * SPACING_MM
        if sign < 0:
            affine[world, 3] += SPACING_MM * (shape[world] - 1)
        stored.append(int(shape[world]))
    return Grid((stored[0], stored[1], stored[2]), affine)


def _write_descriptions(cohort: Path, labels: Path, members: list[Subject]) -> None:
    import pandas

    made = {"BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "regcore.demo"}]}
    write_json(
        cohort / "dataset_description.json",
        {"Name": "Demo cohort: known deformations of the ICBM 2009a head", "DatasetType": "raw", **made},
    )
    write_json(
        labels / "dataset_description.json",
        {"Name": "Tissues and regions of the demo cohort", "DatasetType": "derivative", **made},
    )
    people = pandas.DataFrame(
        {
            "participant_id": [member.name for member in members],
            "age": [member.age for member in members],
            "sex": [member.sex for member in members],
        }
    )
    write_table(
        cohort / "participants.tsv",
        people,
        {
            "participant_id": {"Description": "Subject"},
            "age": {"Description": "Age; the ventricles grow with it", "Units": "year"},
            "sex": {"Description": "Made up", "Levels": {"F": "female", "M": "male"}},
        },
    )
    names = pandas.DataFrame({"index": list(STRUCTURES), "name": list(STRUCTURES.values())})
    write_table(
        labels / "desc-tissue_dseg.tsv",
        names,
        {"index": {"Description": "Value in the label images"}, "name": {"Description": "Structure"}},
    )
