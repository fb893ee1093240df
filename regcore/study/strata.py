"""Stage 5: conditional templates, from the members' transforms to the template of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from regcore.errors import InputError
from regcore.groupwise import PartialSum, average, combine, shape_update, symmetrise, symmetrise_sum
from regcore.io.itk import write_transform
from regcore.io.nifti import read_mask, write_image
from regcore.io.tables import write_table
from regcore.morphometry import log_jacobian
from regcore.preprocess import foreground_mask
from regcore.resample import resample
from regcore.study.influence import member_parts
from regcore.study.job import LOGGER
from regcore.study.manifest import located, write_manifest
from regcore.study.outputs import Layout, describe, resolution
from regcore.study.population import both_ways
from regcore.study.stratify import Stratum

COLUMNS = [
    "stratum",
    "name",
    "members",
    "effective_members",
    "covariate",
    "covariate_mean",
    "rms_shape_change_mm",
    "mean_growth",
]


def scaled(partial: PartialSum, factor: float) -> PartialSum:
    """Sums of members that weigh so many times as much.

    Examples
    --------
    >>> from regcore.groupwise import partial_sum
    >>> from regcore.image import Image
    >>> from regcore.space import Grid
    >>> from regcore.transforms import identity
    >>> image = Image(np.ones((2, 2, 2), np.float32), Grid((2, 2, 2), np.eye(4)))
    >>> half = scaled(partial_sum([image], None, [identity()]), 0.5)
    >>> half.total, average(half).data[0, 0, 0].item()
    (0.5, 1.0)
    """
    size = np.float32(factor)
    return replace(
        partial,
        image=partial.image * size,
        square=partial.square * size,
        weight=partial.weight * size,
        displacement=None if partial.displacement is None else partial.displacement * size,
        log_stretch=partial.log_stretch * factor,
        total=partial.total * factor,
    )


def stratum_template(
    stratum: Stratum,
    prepared: Sequence[Path],
    population: Sequence[Path],
    files: Mapping[str, Path],
    output: Path,
    layout: Layout,
    symmetric: bool = False,
) -> None:
    """Publish the template of a stratum: mean intensity and mean shape of its members.

    Nothing is registered. The members' images on the population's template are averaged with the stratum's
    weights, and the average moves by the mean of their transforms: what the shape update would be if they
    were the whole cohort.

    Parameters
    ----------
    stratum : Stratum
    prepared : sequence of Path
        Folders of all prepared members.
    population : sequence of Path
        Folders of all batches.
    files : mapping
        Output files, as `Layout.stratum` names them.
    output : Path
        Folder for the row of the table and the manifest.
    layout : Layout
        Where the published files lie.
    symmetric : bool
        Whether every member counts with its mirror.

    Raises
    ------
    InputError
        If no member of the stratum could be used.

    References
    ----------
    Davis, B. C. et al. (2010), Population shape regression from random design data,
    doi:10.1007/s11263-010-0367-1.
    """
    total: PartialSum | None = None
    used: dict[str, float] = {}
    for key, part in member_parts(located(prepared), population, layout, stratum.weights):
        used[key] = stratum.weights[key] * part.total
        part = scaled(part, stratum.weights[key])
        total = part if total is None else combine([total, part])
    if total is None:
        raise InputError(
            f"strata: expected a usable member in {stratum.name}, found none (see quarantine.tsv)"
        )
    total = symmetrise_sum(total) if symmetric else total
    grid = total.grid
    # maps points of the stratum's mean shape to the population's template
    back, forth = both_ways(shape_update(total), grid)
    image = resample(average(total), grid, back)
    image = symmetrise(image) if symmetric else image
    growth = log_jacobian(forth, grid)
    common = {"SpatialReference": layout.uri(files["template"]), "Resolution": resolution(grid)}
    write_image(files["template"], image, decimals=5)
    describe(
        files["template"],
        f"Mean intensity and mean shape of {len(used)} members: {stratum.name}",
        **common,
        Units="normalised: foreground median 0.5",
        Stratum=stratum.about,
        Weights=used,
    )
    mask = foreground_mask(image)
    write_image(files["mask"], symmetrise(mask) if symmetric else mask)
    describe(files["mask"], "Foreground", **common, Type="ROI", Sources=[layout.uri(files["template"])])
    write_image(files["log_jacobian"], growth, decimals=4)
    describe(
        files["log_jacobian"],
        "Natural logarithm of the Jacobian determinant on the population's template; above 0 where the "
        f"stratum is larger: {stratum.name}",
        SpatialReference=layout.reference,
    )
    write_transform(files["forward"], back)
    write_transform(files["backward"], forth)
    inside = read_mask(layout.template_mask).data > 0
    points = grid.to_world(np.argwhere(inside))
    moved = forth(points) - points
    weights = np.array(list(used.values()))
    values = [stratum.values[key] for key in used]
    row = {
        "stratum": f"cohort-{stratum.number}",
        "name": stratum.name,
        "members": len(used),
        "effective_members": float(weights.sum() ** 2 / (weights**2).sum()),
        "covariate": next(iter(stratum.about)),
        "covariate_mean": None if isinstance(values[0], str) else float(np.average(values, weights=weights)),
        "rms_shape_change_mm": float(np.sqrt(np.mean(np.sum(moved**2, axis=-1)))),
        "mean_growth": float(growth.data[inside].mean()),
    }
    LOGGER.info("%s: %d members", stratum.name, len(used))
    write_table(output / "strata.tsv", pd.DataFrame([row], columns=COLUMNS))
    write_manifest(output, {}, [files["forward"], files["backward"]])
