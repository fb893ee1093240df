"""How far the transforms of a finished demo are from the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.io.itk import read_transform
from regcore.io.nifti import read_grid, read_mask
from regcore.transforms import Transform, fit_affine, identity

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Disagreement:
    """Distance between where two subjects put the same template point, mm, over all pairs and points."""

    mean: float
    percentile_95: float
    subjects: Mapping[str, float]


def inter_subject_error(
    transforms: Mapping[str, Transform], truths: Mapping[str, Transform], points: Array
) -> Disagreement:
    """Error of the inter-subject maps ``T_j o T_i^-1``, measured in the anatomy that all subjects share.

    Subject i puts the template point x at ``T_i(x)``, and its truth says which anatomical point that is.
    Where the maps between subjects are right, all subjects name the same one: no map has to be inverted.

    Parameters
    ----------
    transforms : mapping of str to Transform
        Template to subject, of each subject.
    truths : mapping of str to Transform
        Subject to anatomy.
    points : array, shape (n, 3)
        Template points, world mm.

    Examples
    --------
    >>> from regcore.transforms import Affine
    >>> shift = Affine.from_parameters(translation=(3.0, 0.0, 0.0))
    >>> truths = {"sub-01": identity(), "sub-02": shift}
    >>> right = {"sub-01": identity(), "sub-02": shift.inverse()}
    >>> inter_subject_error(right, truths, np.zeros((1, 3))).mean
    0.0
    >>> inter_subject_error(truths, truths, np.zeros((1, 3))).mean
    6.0
    """
    anatomical = {name: truths[name](transform(points)) for name, transform in transforms.items()}
    pairs = {
        (first, second): np.linalg.norm(anatomical[first] - anatomical[second], axis=-1)
        for first, second in combinations(anatomical, 2)
    }
    everything = np.concatenate(list(pairs.values()))
    return Disagreement(
        mean=float(everything.mean()),
        percentile_95=float(np.percentile(everything, 95)),
        subjects={
            name: float(np.mean([distance.mean() for pair, distance in pairs.items() if name in pair]))
            for name in anatomical
        },
    )


def compare_with_truth(folder: Path) -> str:
    """Text that says how far the results in a demo folder are from the truth.

    Parameters
    ----------
    folder : path
        As written by `make_demo`, with the workflow's ``results/`` in it.

    Raises
    ------
    InputError
        If the results are not there.
    """
    folder = Path(folder)
    truths = _read_all(folder / "truth", "*_from-ICBM_to-T1w_mode-image_xfm.h5")
    template = _template(folder / "results")
    name = template.parent.name.removeprefix("tpl-")
    transforms = _read_all(folder / "results", f"sub-*/anat/*_from-T1w_to-{name}_mode-image_xfm.h5")
    shared = [subject for subject in truths if subject in transforms]
    if len(shared) < 2:
        raise InputError(f"{folder / 'results'}: expected transforms of two subjects, found {len(shared)}")
    truths = {subject: truths[subject] for subject in shared}
    transforms = {subject: transforms[subject] for subject in shared}
    points = _brain_points(template)

    grid = read_grid(template)
    stages: dict[str, Mapping[str, Transform]] = {
        "as acquired": {subject: identity() for subject in shared},
        "affine part alone": {subject: fit_affine(t, grid) for subject, t in transforms.items()},
        "result": transforms,
    }
    errors = {stage: inter_subject_error(maps, truths, points) for stage, maps in stages.items()}
    lines = [
        f"Distance from the truth over {len(shared)} subjects and {len(points)} points of the brain (mm)",
        "",
        f"  {'maps between subjects':<22}  mean  95th percentile",
    ]
    for stage, error in errors.items():
        lines.append(f"  {stage:<22} {error.mean:5.2f}  {error.percentile_95:15.2f}")
    lines += ["", f"  {'subject':<22} acquired  result"]
    before, after = errors["as acquired"].subjects, errors["result"].subjects
    lines += [f"  {subject:<22} {before[subject]:8.2f}  {after[subject]:6.2f}" for subject in shared]
    return "\n".join(lines)


def _read_all(folder: Path, pattern: str) -> dict[str, Transform]:
    return {path.name.split("_")[0]: read_transform(path) for path in sorted(folder.glob(pattern))}


def _template(results: Path) -> Path:
    folders = sorted(results.glob("tpl-*"))
    if len(folders) != 1:
        raise InputError(f"{results}/tpl-*: expected one template, found {len(folders)}; run the workflow")
    return folders[0] / f"{folders[0].name}_res-01_T1w.nii.gz"


def _brain_points(template: Path) -> Array:
    """Every eighth voxel centre of the template's mask; the demo's images hold nothing but brain."""
    mask = read_mask(template.with_name(template.name.replace("_T1w.nii.gz", "_desc-foreground_mask.nii.gz")))
    inside = np.argwhere(mask.data[::2, ::2, ::2] > 0) * 2
    return mask.grid.to_world(inside)
