"""Stage 5: what each member does to the template."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from regcore.groupwise import PartialSum, leave_one_out, partial_sum, symmetrise_sum
from regcore.io.itk import read_transform
from regcore.io.nifti import read_image, read_mask
from regcore.io.tables import write_table
from regcore.resample import coverage
from regcore.study.gather import read_partials
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, grid_from_dict, located, usable_members, write_manifest
from regcore.study.outputs import Layout

COLUMNS = [
    "rms_intensity_change",
    "relative_intensity_change",
    "rms_displacement_change_mm",
    "rms_stretch_change_mm",
]


def member_parts(
    prepared: Mapping[str, tuple[Path, Entry]],
    population: Sequence[Path],
    layout: Layout,
    wanted: Collection[str] | None = None,
) -> Iterator[tuple[str, PartialSum]]:
    """What every published member that weighs something brings to the template.

    Parameters
    ----------
    prepared : mapping
        Folder and entry of every prepared member, for the grids of the images.
    population : sequence of Path
        Folders of all batches.
    layout : Layout
        Where the published files lie.
    wanted : collection of str, optional
        Members to go through; all by default.

    Yields
    ------
    key : str
    part : PartialSum
        With the weight that the member has in the template.
    """
    for _, key, entry in usable_members(population, "population"):
        weight = float(entry["weight"])
        if weight == 0 or (wanted is not None and key not in wanted):
            continue
        transform = read_transform(layout.forward(key), sealed=True)
        warped = read_image(layout.warped(key))
        seen = coverage(grid_from_dict(prepared[key][1]["grid"]), warped.grid, transform)
        yield key, partial_sum([warped], [seen], [transform], [weight])


def measure_influence(
    prepared: Sequence[Path],
    population: Sequence[Path],
    output: Path,
    layout: Layout,
    symmetric: bool = False,
) -> None:
    """Measure by how much the template would differ without each of its members.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of all prepared members.
    population : sequence of Path
        Folders of all batches.
    output : Path
        Folder for the table and the manifest.
    layout : Layout
        Where the published files lie.
    symmetric : bool
        Whether every member counts with its mirror.
    """
    total = read_partials(population, "population", symmetric)
    foreground = read_mask(layout.template_mask)
    rows = []
    for key, part in member_parts(located(prepared), population, layout):
        part = symmetrise_sum(part) if symmetric else part
        # a template of one member is that member: there is nothing without it
        if part.count < total.count:
            rows.append({"member": key, **leave_one_out(total, part, foreground)})
            LOGGER.info("%s: %.4g", key, rows[-1]["relative_intensity_change"])
    write_table(output / "influence.tsv", pd.DataFrame(rows, columns=["member", *COLUMNS]))
    write_manifest(output, {})
