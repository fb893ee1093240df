"""Stage 6: the statistics of a design: maps, a table of structures, and who took part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from regcore import __version__
from regcore.errors import InputError
from regcore.image import Image
from regcore.io.cohort import member_key
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import read_table, write_json, write_table
from regcore.kernels.enhance import face_neighbours
from regcore.space import Grid
from regcore.statistics import Contrast, Design, fit_contrast, permute, structure_models
from regcore.study.designs import MAPS, MEASURES, plan_design, random_groups
from regcore.study.dictionary import MODEL_COLUMNS, STATISTICS
from regcore.study.job import LOGGER
from regcore.study.manifest import usable
from regcore.study.outputs import Layout, sidecar
from regcore.study.settings import StatisticsSettings

DESIGN_COLUMN = {"Description": "Column of the design matrix"}


def statistics_design(
    name: str,
    morphometry: Sequence[Path],
    regions: Mapping[str, Path],
    output: Path,
    layout: Layout,
    covariates: Sequence[Mapping[str, Any]],
    settings: StatisticsSettings,
) -> None:
    """Test a design in every voxel and in every structure.

    Parameters
    ----------
    name : str
        Of the design.
    morphometry : sequence of Path
        Folders of all batches.
    regions : mapping
        Labels of the template: of the members' `own`, of the `atlas`.
    output : Path
        Folder for the maps, `structures.tsv`, `participants.tsv`, `design_matrix.tsv` and `summary.json`,
        which comes last.
    layout : Layout
        Where the published files and tables lie.
    covariates : sequence of mapping
        A row a member.
    settings : StatisticsSettings

    Raises
    ------
    InputError
        If the design does not work with the members that were not set aside.
    """
    good = {key for folder in morphometry for key, _ in usable(folder)}
    people = [row for row in covariates if _key(row) in good]
    if not people:
        raise InputError(f"statistics {name}: expected usable members, found none (see quarantine.tsv)")
    design, contrasts = plan_design(name, settings, people, bool(regions))
    chosen = settings.designs[name]
    response = chosen.formula.split("~")[0].strip()
    keys = [_key(people[place]) for place in design.kept]
    LOGGER.info("%s: %d members, columns %s", chosen.formula, len(keys), ", ".join(design.columns))
    _write_people(output, covariates, people, design)
    groups = random_groups(chosen, people)
    summary: dict[str, Any] = {
        "Formula": chosen.formula,
        "Response": response,
        "Random": chosen.random,
        "Columns": list(design.columns),
        "Members": len(keys),
        "LeftOut": len(covariates) - len(keys),
        "DegreesOfFreedom": design.residual_degrees,
        "Contrasts": {each.name: dict(zip(design.columns, each.weights, strict=True)) for each in contrasts},
        "regcore": __version__,
    }
    if regions:
        kept = None if groups is None else [groups[place] for place in design.kept]
        table = _structures(response, keys, design, contrasts, kept, layout)
        write_table(output / "structures.tsv", table, MODEL_COLUMNS)
    if response in MAPS and groups is None:
        files = [layout.smoothed_log_jacobian(key, MAPS[response]) for key in keys]
        mask = _mask(layout, regions, settings.mask)
        values = _stack(files, mask)
        summary["Voxels"] = int(values.shape[1])
        summary["Permutations"] = settings.permutations
        summary["Maps"] = {
            each.name: _voxelwise(name, each, design, values, mask, layout, settings) for each in contrasts
        }
    write_json(output / "summary.json", summary)


def _key(row: Mapping[str, Any]) -> str:
    session = row["session_id"]
    return member_key(
        str(row["participant_id"]).removeprefix("sub-"),
        None if session is None else str(session).removeprefix("ses-"),
    )


def _write_people(
    output: Path,
    covariates: Sequence[Mapping[str, Any]],
    people: Sequence[Mapping[str, Any]],
    design: Design,
) -> None:
    """Who took part and who did not; the matrix of those who did."""
    reasons = {_key(people[place]): reason for place, reason in design.left_out.items()}
    taken = {_key(people[place]) for place in design.kept}
    frame = pd.DataFrame(list(covariates))
    keys = [_key(row) for row in covariates]
    frame.insert(2, "took_part", ["yes" if key in taken else "no" for key in keys])
    frame.insert(
        3,
        "reason",
        [None if key in taken else reasons.get(key, "set aside (see quarantine.tsv)") for key in keys],
    )
    if not frame["session_id"].notna().any():
        frame = frame.drop(columns="session_id")
    write_table(output / "participants.tsv", frame, MODEL_COLUMNS)
    identifiers = [name for name in ("participant_id", "session_id") if name in frame]
    rows = frame.loc[frame["took_part"] == "yes", identifiers].reset_index(drop=True)
    matrix = pd.concat([rows, pd.DataFrame(design.matrix, columns=list(design.columns))], axis=1)
    dictionary = {**dict.fromkeys(design.columns, DESIGN_COLUMN), **MODEL_COLUMNS}
    write_table(output / "design_matrix.tsv", matrix, dictionary)


def _structures(
    response: str,
    keys: Sequence[str],
    design: Design,
    contrasts: Sequence[Contrast],
    groups: Sequence[Any] | None,
    layout: Layout,
) -> pd.DataFrame:
    """Models of every structure of every segmentation."""
    source, column = MEASURES[response]
    table = read_table(layout.tables / f"{source}.tsv")
    sessions = table["session_id"] if "session_id" in table else [None] * len(table)
    table["member"] = [
        _key({"participant_id": participant, "session_id": None if pd.isna(session) else session})
        for participant, session in zip(table["participant_id"], sessions, strict=True)
    ]
    found = []
    for kind, part in table.groupby("segmentation", sort=False):
        names = part.drop_duplicates("label").set_index("label")["structure"]
        measures = part.pivot(index="member", columns="label", values=column).reindex(list(keys))
        measures.index = pd.Index(design.kept)
        frame = structure_models(measures, design, contrasts, groups)
        if frame.empty:
            continue
        frame.insert(0, "segmentation", kind)
        frame.insert(1, "label", frame["structure"])
        frame["structure"] = frame["label"].map(names)
        frame.insert(4, "response", response)
        found.append(frame)
    if not found:
        raise InputError(f"{layout.tables / source}.tsv: expected measures of structures, found none")
    return pd.concat(found, ignore_index=True)


def _mask(layout: Layout, regions: Mapping[str, Path], kind: str) -> Image:
    if kind == "foreground":
        return read_labels(layout.template_mask)
    maps = [read_labels(path) for path in regions.values()]
    return Image(np.any([each.data > 0 for each in maps], axis=0).astype(np.uint8), maps[0].grid)


def _stack(files: Sequence[Path], mask: Image) -> npt.NDArray[np.float32]:
    """Maps of all members inside the mask, one at a time in memory."""
    inside = mask.data > 0
    values = np.empty((len(files), int(inside.sum())), np.float32)
    for row, file in enumerate(files):
        image = read_image(file)
        if not image.grid.matches(mask.grid):
            raise InputError(
                f"{file}: expected the grid of the template {mask.grid.shape}, found {image.grid.shape}"
            )
        values[row] = image.data[inside]
    return values


def _voxelwise(
    name: str,
    contrast: Contrast,
    design: Design,
    values: npt.NDArray[np.float32],
    mask: Image,
    layout: Layout,
    settings: StatisticsSettings,
) -> dict[str, Any]:
    """Publish the maps of a contrast; how many voxels are significant."""
    fit = fit_contrast(design.matrix, values, contrast.weights)
    inside = mask.data > 0
    maps = {
        "effect": fit.effect,
        "t": fit.t,
        "partialcorrelation": fit.partial_correlation,
        "logp": -np.log10(np.maximum(fit.p, 1e-300)),
        "logpFdr": -np.log10(np.maximum(fit.q, 1e-300)),
    }
    found: dict[str, Any] = {
        "LargestAbsoluteT": float(np.abs(fit.t).max()),
        "VoxelsFdr": int((fit.q <= 0.05).sum()),
    }
    if settings.permutations:
        neighbours = face_neighbours(inside) if settings.clusters else None
        permuted = permute(
            design.matrix, values, contrast.weights, settings.permutations, neighbours, settings.seed
        )
        maps["logpFwe"] = -np.log10(permuted.p_t)
        found["VoxelsFwe"] = int((permuted.p_t <= 0.05).sum())
        found["ThresholdT"] = float(np.quantile(permuted.largest_t, 0.95, method="higher"))
        found["SmallestPossibleP"] = 1 / (settings.permutations + 1)
        if permuted.enhanced is not None and permuted.p_enhanced is not None:
            maps["tfce"] = permuted.enhanced
            maps["logpFweTfce"] = -np.log10(permuted.p_enhanced)
            found["VoxelsFweTfce"] = int((permuted.p_enhanced <= 0.05).sum())
    for statistic, flat in maps.items():
        file = layout.statistic_map(name, contrast.name, statistic)
        _write_map(file, flat, inside, mask.grid)
        write_json(
            sidecar(file),
            {
                "Description": STATISTICS[statistic],
                "Formula": settings.designs[name].formula,
                "Contrast": dict(zip(design.columns, contrast.weights, strict=True)),
                "DegreesOfFreedom": fit.degrees,
                "Permutations": settings.permutations if "Fwe" in statistic else None,
                "SpatialReference": layout.reference,
            },
        )
    LOGGER.info("%s: %s", contrast.name, ", ".join(f"{what} {number:.6g}" for what, number in found.items()))
    return found


def _write_map(file: Path, flat: npt.NDArray[Any], inside: npt.NDArray[np.bool_], grid: Grid) -> None:
    data = np.zeros(grid.shape, np.float32)
    data[inside] = flat
    write_image(file, Image(data, grid), decimals=5)
