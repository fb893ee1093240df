"""Whether Jacobians find what labels find, in mice and in heads, and how often what is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas
import scipy.stats

from benchmarks.pairwise import Setup
from benchmarks.studies import study_results
from regcore.image import Image
from regcore.io.nifti import read_image, read_labels
from regcore.io.tables import read_table
from regcore.kernels.enhance import face_neighbours
from regcore.statistics import fit_contrast, permute

VENTRICLES = ("LateralVentricle", "InfLatVentricle", "3rdVentricle", "Ventricle")
STUDIES = ("mouse", "brains")
NULL_RUNS = 200
NULL_PERMUTATIONS = 99
NULL_SPACING_VOX = 3


def morphometry_rows(
    setup: Setup, results: Path | None = None, studies: tuple[str, ...] = STUDIES
) -> dict[str, pandas.DataFrame]:
    """Tables of what was found, by title.

    Parameters
    ----------
    setup : Setup
        The studies are kept in its folder.
    results : Path, optional
        Results of the workflow on ``brains`` with the designs of ``brains.yaml``; made if not given.
    studies : tuple of str
    """
    found = {}
    if "mouse" in studies:
        mouse = study_results("mouse", setup)
        effects = _both(mouse, "genotypetransgenic")
        found["mouse, transgenic less wild type"] = agreement(effects)
        found["mouse, permuted genotypes"] = null_rates(mouse, "maps", "genotypetransgenic", "rel")
    if "brains" in studies:
        brains = results or study_results("brains", setup)
        effects = _both(brains, "age")
        found["brains, change a year"] = agreement(effects)
        chosen = effects[effects["structure"].str.contains("|".join(VENTRICLES))]
        found["brains, ventricles"] = chosen.drop(columns=["label"]).reset_index(drop=True)
        found["brains, permuted ages"] = null_rates(brains, "maps", "age", "abs")
    return found


def _both(results: Path, contrast: str) -> pandas.DataFrame:
    """A row a structure: effect on its mean, %, by labels and by Jacobians, with p-values."""
    tables = []
    for design in ("labels", "jacobians"):
        table = read_table(results / "statistics" / design / "structures.tsv")
        table = table[(table["contrast"] == contrast) & (table["segmentation"] == "own")].set_index("label")
        percent = 100 * table["effect"] / table["mean"]
        shown = pandas.DataFrame(
            {"structure": table["structure"], "percent": percent, "d": table["cohens_d"], "p": table["p"]}
        )
        tables.append(shown)
    both = tables[0].join(tables[1].drop(columns="structure"), lsuffix="_labels", rsuffix="_jacobians")
    return both.dropna().reset_index()


def agreement(effects: pandas.DataFrame) -> pandas.DataFrame:
    """Signs and order of the effects of Jacobians against those of labels.

    Parameters
    ----------
    effects : DataFrame
        ``percent_labels, percent_jacobians, p_labels``, a row a structure.

    Returns
    -------
    DataFrame
        A row a choice of structures: all, and those that the labels find (p < 0.05): how many, the share with
        the same sign, the rank and the linear correlation of the effects, and the median of both.
    """
    rows = []
    for title, part in (("all", effects), ("p < 0.05 by labels", effects[effects["p_labels"] < 0.05])):
        one, other = part["percent_labels"], part["percent_jacobians"]
        enough = len(part) > 2
        rows.append(
            {
                "structures": title,
                "count": len(part),
                "same_sign": float((np.sign(one) == np.sign(other)).mean()) if len(part) else np.nan,
                "spearman": float(scipy.stats.spearmanr(one, other).statistic) if enough else np.nan,
                "pearson": float(np.corrcoef(one, other)[0, 1]) if enough else np.nan,
                "median_labels_percent": one.median(),
                "median_jacobians_percent": other.median(),
            }
        )
    return pandas.DataFrame(rows).round(3)


def null_rates(results: Path, design: str, contrast: str, kind: str) -> pandas.DataFrame:
    """How often something is found at 0.05 once what is tested is dealt out anew, which makes it void.

    The tested column of the design changes places among the members, in whose maps every third voxel along
    each axis is looked at; each of the runs is tested as the workflow tests it.

    Parameters
    ----------
    results : Path
        Of a study.
    design, contrast : str
        Of its statistics.
    kind : str
        ``rel`` or ``abs`` log-Jacobians.

    Returns
    -------
    DataFrame
        A row a test: runs (or tests), how many of them found something, the share, and the ends of its 95 %
        binomial interval.
    """
    folder = results / "statistics" / design
    table = read_table(folder / "design_matrix.tsv")
    matrix = table.drop(columns=[name for name in table if name.endswith("_id")]).to_numpy(np.float64)
    names = [name for name in table if not name.endswith("_id")]
    weights = np.array([float("".join(filter(str.isalnum, name)) == contrast) for name in names])
    template = next(results.glob("tpl-*/*_desc-foreground_mask.nii.gz"))
    inside = _thinned(read_labels(template).data > 0)
    values = np.stack(
        [_thinned(_map(results, who, kind).data)[inside] for who in table["participant_id"].astype(str)]
    )
    neighbours = face_neighbours(inside)
    generator = np.random.default_rng(0)
    counts = {"voxel alone": 0.0, "any voxel, family-wise": 0.0, "any voxel, TFCE family-wise": 0.0}
    for run in range(NULL_RUNS):
        void = np.where(weights == 0, matrix, matrix[generator.permutation(len(matrix))])
        counts["voxel alone"] += float((fit_contrast(void, values, weights).p <= 0.05).mean())
        found = permute(void, values, weights, NULL_PERMUTATIONS, neighbours, seed=run)
        assert found.p_enhanced is not None
        counts["any voxel, family-wise"] += float(found.p_t.min() <= 0.05)
        counts["any voxel, TFCE family-wise"] += float(found.p_enhanced.min() <= 0.05)
    rows = []
    for test, count in counts.items():
        ends = scipy.stats.binomtest(round(count), NULL_RUNS).proportion_ci()
        rows.append(
            {
                "test": test,
                "runs": NULL_RUNS,
                "found": round(count, 1),
                "share": count / NULL_RUNS,
                "low": ends.low,
                "high": ends.high,
            }
        )
    return pandas.DataFrame(rows).round(4)


def _thinned(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return data[(slice(None, None, NULL_SPACING_VOX),) * 3]


def _map(results: Path, participant: str, kind: str) -> Image:
    return read_image(next((results / participant / "anat").glob(f"*_desc-{kind}Smoothed_logjac.nii.gz")))
