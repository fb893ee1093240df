"""Linear stages in order; an answer that no anatomy could give is tried again from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.image import Image
from regcore.registration.landmark_term import LandmarkTerm
from regcore.registration.linear import IterationRow, initial_affine, register_linear
from regcore.registration.settings import INITIALISATIONS, LinearSettings
from regcore.registration.similarity import Channel
from regcore.transforms import Affine, decompose

RESTRICTED = {"affine": ("similarity", "rigid"), "similarity": ("rigid",)}


class LinearAnswer(NamedTuple):
    """What the linear stages found.

    Parameters
    ----------
    affine : Affine
    rows : list of IterationRow
    retries : list of str
        A line for every stage that was tried again: what was wrong, and what was taken instead.
    """

    affine: Affine
    rows: list[IterationRow]
    retries: list[str]


def implausible(change: npt.ArrayLike, settings: LinearSettings) -> str:
    """What is wrong with a linear map, in words; empty if nothing is.

    Parameters
    ----------
    change : array, shape (4, 4)
        World to world, from where the registration started.
    settings : LinearSettings
        Its `scale_limit` and `shear_limit`.

    Examples
    --------
    >>> implausible(np.diag([1.2, 0.9, 1.0, 1.0]), LinearSettings())
    ''
    >>> implausible(np.diag([1.2, 0.3, 1.0, 1.0]), LinearSettings())
    'scale 0.30 beyond 1/1.7'
    """
    matrix = np.asarray(change, dtype=np.float64)
    scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    shear = float(np.abs(decompose(matrix).shears).max())
    if scales.max() > settings.scale_limit:
        return f"scale {scales.max():.2f} beyond {settings.scale_limit:g}"
    if scales.min() < 1 / settings.scale_limit:
        return f"scale {scales.min():.2f} beyond 1/{settings.scale_limit:g}"
    return f"shear {shear:.2f} beyond {settings.shear_limit:g}" if shear > settings.shear_limit else ""


def register_stages(
    fixed: Image,
    moving: Image,
    stages: Sequence[LinearSettings],
    start: Affine,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    progress: Callable[[IterationRow], None] | None = None,
    channels: Sequence[Channel] = (),
    given: bool = False,
    landmarks: LandmarkTerm | None = None,
) -> LinearAnswer:
    """Linear stages, each from the answer of the one before.

    An answer is implausible where it scales or shears, since `start`, beyond the limits of its stage. It is
    then looked for again from the other initialisations, unless the start was given, and with models of
    fewer parameters from where the stage began; the plausible answer with the least energy is taken.

    Parameters
    ----------
    fixed, moving : Image
        Intensities in about [0, 1], background zero.
    stages : sequence of LinearSettings
    start : Affine
    fixed_mask, moving_mask : Image, optional
        Only voxels inside both count.
    progress : callable, optional
    channels : sequence of Channel
        Further images to match, with fixed images on the grid of `fixed`.
    given : bool
        Whether the user gave the start.
    landmarks : LandmarkTerm, optional
        Counted with the images.

    Returns
    -------
    LinearAnswer
    """
    affine, rows, retries = start, list[IterationRow](), list[str]()

    def run(stage: LinearSettings, begin: Affine) -> tuple[Affine, list[IterationRow]]:
        return register_linear(
            fixed, moving, stage, begin, fixed_mask, moving_mask, progress, channels, landmarks
        )

    def wrong(stage: LinearSettings, answer: Affine) -> str:
        return implausible((start.inverse() @ answer).matrix, stage)

    for number, stage in enumerate(stages):
        # only the first stage searches; the following ones start from its answer
        settled = replace(stage, rotations_deg=0.0, rotation_search="local")
        answer, more = run(stage if number == 0 else settled, affine)
        rows += more
        reason = wrong(stage, answer)
        if reason:
            others = () if given else INITIALISATIONS
            tries = [
                (f"{stage.model} from {how}", stage, initial_affine(fixed, moving, how))
                for how in others
                if number > 0 or how != stage.initialisation
            ]
            tries += [
                (model, replace(settled, model=model), affine) for model in RESTRICTED.get(stage.model, ())
            ]
            found: list[tuple[float, str, Affine]] = []
            for name, how, begin in tries:
                another, more = run(how, begin)
                rows += more
                if not wrong(stage, another):
                    found.append((more[-1].energy if more else np.inf, name, another))
            # none at all: where the stage began
            _, name, answer = min(found, key=lambda each: each[0], default=(0.0, "no change", affine))
            retries.append(f"{stage.model}: {reason}; took {name}")
        affine = answer
    return LinearAnswer(affine, rows, retries)
