"""Stage 2: the partial sums of an iteration become the next template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regcore.errors import InputError
from regcore.groupwise import (
    PartialSum,
    average,
    combine,
    convergence_row,
    drift,
    has_converged,
    shape_update,
    sharpen,
    symmetrise,
    symmetrise_sum,
)
from regcore.io.arrays import link_files, read_arrays, write_arrays
from regcore.io.itk import write_transform
from regcore.io.nifti import read_image, write_image
from regcore.io.tables import read_json, write_json
from regcore.resample import resample
from regcore.study.channels import gather_channels
from regcore.study.integrity import seal_folder, verify_folder
from regcore.study.job import LOGGER
from regcore.study.manifest import nobody, usable_members
from regcore.study.settings import QualitySettings
from regcore.study.template import DRIFT, PARTIAL, PASSED, read_drift
from regcore.study.weighing import QC, judge_members
from regcore.transforms import Transform, identity

STATE = "convergence.json"
TEMPLATE = "template.nii.gz"
JUDGING = QualitySettings()


def gather_template(
    registered: Sequence[Path],
    previous: Sequence[Path],
    output: Path,
    iteration: int,
    stage: str,
    sharpen_copy: bool,
    stop_mm: float,
    symmetric: bool = False,
    subject: bool = False,
    quality: QualitySettings = JUDGING,
) -> None:
    """Average what the batches bring, move the average to the middle of the population, judge both.

    Parameters
    ----------
    registered : sequence of Path
        Folders of all batches of this iteration.
    previous : sequence of Path
        Folder of the template of the iteration before; empty for the first average.
    output : Path
        Folder for `template.nii.gz`, `target.nii` and `target_channel_*.nii` (what the next iteration
        registers to), `update.h5`, `drift.npz`, `convergence.json` (all iterations so far) and `qc.tsv`
        (measures of every member, what it weighs in this average and what in the next).
    iteration : int
        Number, 0 for the first average.
    stage : str
        Name of the stage.
    sharpen_copy : bool
        Whether the next iteration registers to a sharpened copy.
    stop_mm : float
        Shape update (RMS, mm) at which the stage stops, once the weights have settled.
    symmetric : bool
        Whether every member counts with its mirror.
    subject : bool
        Whether it is one of many subjects' templates; without any usable session `convergence.json` says so.
    quality : QualitySettings
        How members are judged.
    """
    if subject and nobody(registered):
        write_json(output / STATE, {"rows": [], "stopped": None, "empty": True})
        seal_folder(output)
        return
    before: dict[str, Any] = {"rows": [], "stopped": None}
    if previous:
        verify_folder(previous[0])
        before = read_json(previous[0] / STATE)
    if (registered[0] / PASSED).exists():
        link_files(previous[0], output)
        row = before["rows"][-1] | {"iteration": iteration, "passed_through": True}
        write_json(output / STATE, before | {"rows": [*before["rows"], row]})
        seal_folder(output)
        LOGGER.info("stage %s has converged: iteration %d repeats the one before", stage, iteration)
        return
    partial = read_partials(registered, "template", symmetric)
    common = drift(partial, read_drift(previous[0], stage) if previous else None)
    if common is not None:
        write_arrays(output / DRIFT, {stage: common})
    update: Transform = shape_update(partial) if iteration else identity()
    template = resample(average(partial), partial.grid, update)
    # the update is symmetric but for its last digits
    template = symmetrise(template) if symmetric else template
    rows = list(before["rows"])
    members = usable_members(registered, "template")
    if iteration:
        similarities = [e["quality"]["similarity_after"] for _, _, e in members if e["weight"] > 0]
        last = read_image(previous[0] / TEMPLATE)
        row = convergence_row(iteration, stage, last, template, partial, update, similarities)
        # a linear stage can still move members where the template's shape rests
        motions = [entry["motion_mm"] for _, _, entry in members if "motion_mm" in entry]
        motion = float(np.sqrt(np.mean(np.square(motions)))) if motions else None
        rows.append(row | {"rms_motion_mm": motion, "passed_through": False})
        LOGGER.info("shape update %.4f mm RMS", row["rms_shape_update_mm"])
    about = {"iteration": iteration, "stage": stage}
    settled = judge_members(output / QC, [(key, entry) for _, key, entry in members], about, quality)
    stopped = stage if settled and has_converged(rows, stop_mm) else None
    write_image(output / TEMPLATE, template)
    write_image(output / "target.nii", sharpen(template) if sharpen_copy else template)
    write_transform(output / "update.h5", update, partial.grid)
    gather_channels(registered, update, output, sharpen_copy, symmetric)
    write_json(output / STATE, {"rows": rows, "stopped": stopped})
    seal_folder(output)


def read_partials(folders: Sequence[Path], what: str, symmetric: bool = False) -> PartialSum:
    """Sum of the partial sums of all batches that have one, in the order of the folders.

    With `symmetric`, of all members and their mirrors.

    Raises
    ------
    InputError
        If no batch has any.
    """
    total: PartialSum | None = None
    for folder in folders:
        # a batch without any member that weighs something has no sums
        if (folder / PARTIAL).exists():
            part = PartialSum.from_arrays(read_arrays(folder / PARTIAL))
            # two at a time: memory does not grow with the cohort
            total = part if total is None else combine([total, part])
    if total is None:
        raise InputError(
            f"{what}: expected at least one usable image with a weight above 0, found none "
            "(see quarantine.tsv and qc.overrides)"
        )
    return symmetrise_sum(total) if symmetric else total
