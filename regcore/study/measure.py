"""Stage 5: structures, Jacobians, overlap and a picture of every member of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd

from regcore.errors import InputError, unnamed
from regcore.image import Image
from regcore.io.atomic import atomic_path
from regcore.io.label_tables import read_label_table
from regcore.io.nifti import read_grid, read_image, read_labels
from regcore.io.tables import write_table
from regcore.labels.overlap import dice, overlap_table
from regcore.morphometry import structure_jacobians, structure_means, structure_volumes
from regcore.qc.slices import sheet_of, slice_sheet
from regcore.resample import resample
from regcore.space import Grid
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, located, read_manifest, write_manifest
from regcore.study.outputs import Layout
from regcore.study.settings import TablesSettings

Names = Mapping[int, str]


def measure_batch(
    prepared: Sequence[Path],
    population: Path | None,
    atlas: Sequence[Path],
    output: Path,
    layout: Layout,
    labels: Mapping[str, str],
    names: Mapping[str, str],
    regions: Mapping[str, Path],
    atlas_name: str,
    settings: TablesSettings,
    convention: str,
) -> None:
    """Measure the members of a batch; rows go to one table a kind in `output`.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of the prepared members of the batch.
    population : Path or None
        Folder of this batch, where there is a template.
    atlas : sequence of Path
        Folders of the atlas batches that hold its members.
    output : Path
        Folder for tables, pictures and the manifest.
    layout : Layout
        Where the published files lie.
    labels : mapping
        Member to its own label file.
    names : mapping
        Tables of label names: ``own``, ``atlas``.
    regions : mapping
        Labels of the template, in which every member's Jacobians are measured: ``own``, ``atlas``.
    atlas_name : str
        Of the set of atlases.
    settings : TablesSettings
    convention : str
        Side on which pictures show the subject's left.
    """
    known = {kind: read_label_table(file).names for kind, file in names.items()}
    placed = {} if population is None else read_manifest(population)
    fused = {key: entry for key, (_, entry) in located(atlas).items()}
    areas = {kind: read_labels(path) for kind, path in regions.items()}
    tables: dict[str, list[pd.DataFrame]] = {"volumes": [], "jacobians": [], "overlap": []}
    entries: dict[str, Entry] = {}
    for key, (folder, entry) in located(prepared).items():
        entries[key] = entry
        if entry["status"] != "ok":
            continue
        grid = read_grid(folder / entry["image"])
        maps = label_maps(key, grid, labels, fused, layout, atlas_name)
        in_template = placed.get(key, {}).get("status") == "ok"
        for kind, image in maps.items():
            _measure(tables, key, kind, image, known.get(kind, {}), settings)
            if kind == "atlas" and image.data.any():
                sure = structure_means(read_image(layout.confidence(key, atlas_name)), image)
                tables["volumes"][-1]["confidence_mean"] = tables["volumes"][-1]["label"].map(sure)
        if len(maps) == 2:
            overlap = _overlap(maps["atlas"], maps["own"], known.get("atlas", {}), settings.surface_distances)
            tables["overlap"].append(_with_key(overlap, key, "atlas"))
        entries[key] = good()
        if in_template:
            tables["jacobians"] += _jacobians(key, areas, known, layout)
            entries[key] |= {"sheet": _sheet(key, layout, output, convention)}
            if "own" in areas and placed[key].get("labels"):
                own = read_labels(layout.warped_labels(key))
                entries[key] |= {"label_dice": _label_dice(own, areas["own"])}
        LOGGER.info("%s: measured %s", key, ", ".join(maps) or "no labels")
    for name, frames in tables.items():
        if frames:
            write_table(output / f"{name}.tsv", pd.concat(frames, ignore_index=True))
    write_manifest(output, entries)


def label_maps(
    key: str,
    grid: Grid,
    labels: Mapping[str, str],
    fused: Mapping[str, Entry],
    layout: Layout,
    atlas_name: str,
) -> dict[str, Image]:
    """Own and fused labels of a member, as far as there are any, on the grid of its image."""
    maps = {}
    if fused.get(key, {}).get("status") == "ok":
        maps["atlas"] = read_labels(layout.fused(key, atlas_name))
    if key in labels:
        try:
            own = read_labels(labels[key])
            maps["own"] = own if own.grid.matches(grid) else resample(own, grid, None, "label")
        except InputError as error:
            LOGGER.warning("%s: labels left out: %s", key, unnamed(error, labels[key]))
    return maps


def _measure(
    tables: dict[str, list[pd.DataFrame]],
    key: str,
    kind: str,
    image: Image,
    names: Names,
    settings: TablesSettings,
) -> None:
    """Volumes of a label map."""
    if not image.data.any():
        return
    present = {int(value) for value in np.unique(image.data) if value > 0}
    named = {label: name for label, name in names.items() if label in present}
    whole = None
    if settings.intracranial_labels:
        inside = np.isin(image.data, settings.intracranial_labels)
        whole = float(inside.sum()) * image.grid.voxel_volume or None
    tables["volumes"].append(_with_key(structure_volumes(image, named, whole), key, kind))


def _jacobians(
    key: str, areas: Mapping[str, Image], known: Mapping[str, Names], layout: Layout
) -> list[pd.DataFrame]:
    """Jacobians of a member over the template's labels: the same voxels in every member."""
    if not areas:
        return []
    absolute, relative = (read_image(layout.log_jacobian(key, each)) for each in ("abs", "rel"))
    found = []
    for kind, area in areas.items():
        present = {int(value) for value in np.unique(area.data) if value > 0}
        named = {label: name for label, name in known.get(kind, {}).items() if label in present}
        found.append(_with_key(structure_jacobians(absolute, relative, area, named), key, kind))
    return found


def _overlap(found: Image, reference: Image, names: Names, distances: bool) -> pd.DataFrame:
    if distances:
        return overlap_table(found, reference, names)
    scores = dice(found, reference)
    return pd.DataFrame(
        {
            "label": list(scores),
            "structure": [names.get(label, f"label-{label}") for label in scores],
            "dice": list(scores.values()),
        }
    )


def _label_dice(labels: Image, common: Image) -> float:
    """Mean Dice of a member's structures with what most members have on the template."""
    scores = dice(labels, common)
    return float(np.mean(list(scores.values()))) if scores else float("nan")


def _with_key(frame: pd.DataFrame, key: str, kind: str) -> pd.DataFrame:
    frame.insert(0, "member", key)
    frame.insert(1, "segmentation", kind)
    return frame


def _sheet(key: str, layout: Layout, output: Path, convention: str) -> str:
    """Slices of a member on the template; returns the name of their file."""
    side = cast(Literal["neurological", "radiological"], convention)
    shown = sheet_of(read_image(layout.template_image), read_labels(layout.template_mask), side)
    with atomic_path(output / f"{key}.webp") as temporary:
        temporary.write_bytes(slice_sheet(read_image(layout.warped(key)), shown))
    return f"{key}.webp"
