"""Five atlases onto the other 19 heads: the workflow's labels and greedy's by majority vote."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pandas

from benchmarks.data import ATLAS, Pair, atlas_pairs
from benchmarks.methods import is_installed
from benchmarks.pairwise import Setup, labels_file, run_pair
from benchmarks.score import mean_dice
from regcore.errors import InputError
from regcore.io.nifti import read_labels
from regcore.labels.fuse import majority_vote


def atlas_row(setup: Setup, results: Path, targets: int | None = None) -> pandas.DataFrame:
    """Dice of each target's fused labels against its own.

    Parameters
    ----------
    setup : Setup
        The registrations of greedy are kept one by one in its folder.
    results : Path
        Results of the workflow on ``brains`` with these atlases.
    targets : int, optional
        Only the first ones.

    Returns
    -------
    DataFrame
        ``target, workflow, greedy``, a row a target and one of means at the end; what there is no result of
        is NaN.

    Raises
    ------
    InputError
        If `results` lacks the labels of a target.
    """
    rows = []
    by_target = [list(pairs) for _, pairs in groupby(atlas_pairs(), key=lambda pair: pair.fixed.name)]
    for pairs in by_target[:targets]:
        target = pairs[0].fixed
        reference = read_labels(target.labels)
        fused = read_labels(_workflow_labels(results, target.name))
        row: dict[str, str | float] = {"target": target.name, "workflow": mean_dice(reference, fused)}
        if is_installed("greedy"):
            row["greedy"] = _majority(pairs, setup)
        rows.append(row)
    table = pandas.DataFrame(rows)
    means = table.drop(columns="target").mean()
    return pandas.concat([table, pandas.DataFrame([{"target": "mean", **means}])], ignore_index=True).round(4)


def _majority(pairs: Sequence[Pair], setup: Setup) -> float:
    runs = [run_pair(ATLAS, pair, "greedy", setup) for pair in pairs]
    if any("failure" in run for run in runs):
        return float("nan")
    carried = [read_labels(labels_file(ATLAS, pair, "greedy", setup)) for pair in pairs]
    fused, _ = majority_vote(carried)
    return mean_dice(read_labels(pairs[0].fixed.labels), fused)


def _workflow_labels(results: Path, name: str) -> Path:
    found = sorted(results.glob(f"sub-{name}/anat/sub-{name}_atlas-*_dseg.nii.gz"))
    if len(found) != 1:
        raise InputError(
            f"{results}/sub-{name}: expected the labels of one set of atlases, found {len(found)}"
        )
    return found[0]
