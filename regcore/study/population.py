"""Stage 3: what is published of every member: transforms both ways, warped image, Jacobian maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

from regcore import __version__
from regcore.errors import InputError
from regcore.groupwise import PartialSum, update_transform
from regcore.image import Image
from regcore.io.arrays import write_arrays
from regcore.io.itk import read_transform, write_transform
from regcore.io.label_tables import LabelTable, read_label_table, write_label_tables
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import write_json
from regcore.kernels.invert import invert
from regcore.labels.consensus import Votes, merge_votes, vote_of
from regcore.labels.overlap import structures_of
from regcore.morphometry import log_jacobian
from regcore.preprocess import foreground_mask
from regcore.registration.folds import make_diffeomorphic
from regcore.resample import resample
from regcore.space import Grid
from regcore.study.config import PopulationSettings
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, located, read_manifest, set_aside, write_manifest
from regcore.study.outputs import Layout, sidecar
from regcore.study.quality import affine_quality, map_quality, mask_overlap, similarity
from regcore.study.template import PARTIAL, add_member
from regcore.study.weighing import read_weights
from regcore.transforms import Chain, Displacement, Transform, peel, split

VOTES = "votes.npz"


def population_batch(
    prepared: Sequence[Path],
    registered: Path,
    template: Path,
    weights: Path,
    output: Path,
    layout: Layout,
    labels: Mapping[str, str],
    names: str | None,
    settings: PopulationSettings,
) -> None:
    """Publish the members of a batch in the space of the final template.

    Parameters
    ----------
    prepared : sequence of Path
        Folders of the prepared members of the batch.
    registered : Path
        Folder of this batch in the last iteration.
    template : Path
        Folder of the template of the last iteration; its shape update goes into every transform.
    weights : Path
        The published ``qc.tsv``: what every member weighs in the template.
    output : Path
        Folder for the partial sums and the manifest.
    layout : Layout
        Where the published files go.
    labels : mapping
        Member to its own label file.
    names : str or None
        Table with the names of these labels.
    settings : PopulationSettings
    """
    fixed = read_image(template / "template.nii.gz")
    update = Chain((read_transform(template / "update.h5"),))
    images = located(prepared)
    mask, decided = foreground_mask(fixed), read_weights(weights, following=False)
    table = LabelTable() if names is None else read_label_table(names)
    entries: dict[str, Entry] = {}
    parts: list[PartialSum] = []
    votes: list[Votes] = []
    for key, before in read_manifest(registered).items():
        entries[key] = before
        if before["status"] != "ok":
            continue
        folder, original = images[key]
        image = read_image(folder / original["image"])
        try:
            start = update_transform(read_transform(registered / before["transform"]), update, fixed.grid)
            forward, backward = both_ways(start, fixed.grid)
        except InputError as error:
            entries[key] = set_aside("population", str(error))
            continue
        mode = cast(Literal["linear", "cubic"], settings.interpolation)
        warped = resample(image, fixed.grid, forward, mode)
        add_member(parts, image, warped, forward, decided[key])
        quality = {
            "similarity_before": before.get("similarity_start"),
            "similarity_after": similarity(fixed, warped),
            **map_quality(_displacement(forward), _displacement(backward)),
            "mask_dice": mask_overlap(mask, warped),
            **affine_quality(forward, fixed),
        }
        _publish(layout, key, warped, forward, backward, quality)
        entries[key] = good(quality=quality, **decided[key].entry)
        if key in labels:
            about, own = _publish_labels(layout, key, Path(labels[key]), fixed.grid, forward, table)
            entries[key] |= about
            if own is not None and decided[key].value > 0:
                votes[:] = [merge_votes([*votes, vote_of(own, decided[key].value)])]
        LOGGER.info("%s: similarity %.4f", key, quality["similarity_after"])
    if parts:
        write_arrays(output / PARTIAL, parts[0].to_arrays())
    if votes:
        write_arrays(output / VOTES, {"label": votes[0].label, "lead": votes[0].lead})
    write_manifest(output, entries)


def both_ways(transform: Transform, grid: Grid) -> tuple[Chain, Chain]:
    """A transform as affine after displacement, and its inverse; neither folds.

    Parameters
    ----------
    transform : Transform
        World mm of `grid` to world mm of the member.
    grid : Grid
        Where both displacements lie.

    Returns
    -------
    forward, backward : Chain
        ``(Affine, Displacement)`` and ``(Displacement, Affine)``.
    """
    affine, displacement = split(transform, grid, affine=peel(transform)[0])
    field = make_diffeomorphic(displacement.field)[0]
    inverse = make_diffeomorphic(invert(field))[0]
    return (
        Chain((affine, Displacement(field, grid))),
        Chain((Displacement(inverse, grid), affine.inverse())),
    )


def _displacement(transform: Chain) -> Displacement:
    return next(step for step in transform.transforms if isinstance(step, Displacement))


def _publish(
    layout: Layout, key: str, warped: Image, forward: Chain, backward: Chain, quality: Mapping[str, object]
) -> None:
    write_transform(layout.forward(key), forward)
    write_transform(layout.backward(key), backward)
    about = {
        "regcore": __version__,
        "Quality": quality,
        "Direction": "points of the second space to the first",
    }
    write_json(sidecar(layout.forward(key)), about)
    write_image(layout.warped(key), warped, decimals=4)
    write_json(
        sidecar(layout.warped(key)),
        {"SpatialReference": layout.template_image.name, "Units": "normalised: foreground median 0.5"},
    )
    for kind in ("abs", "rel"):
        jacobian = log_jacobian(forward, warped.grid, relative=kind == "rel")
        write_image(layout.log_jacobian(key, kind), jacobian, decimals=4)
        write_json(
            sidecar(layout.log_jacobian(key, kind)),
            {
                "Description": "Natural logarithm of the Jacobian determinant; above 0 where the subject is "
                "larger than the template" + (", overall size left out" if kind == "rel" else ""),
                "SpatialReference": layout.template_image.name,
            },
        )


def _publish_labels(
    layout: Layout, key: str, file: Path, grid: Grid, forward: Chain, table: LabelTable
) -> tuple[Entry, Image | None]:
    """A member's own labels in template space; labels that cannot be read spoil nothing else."""
    try:
        labels = read_labels(file)
    except InputError as error:
        LOGGER.warning("%s: labels left out: %s", key, error)
        return {"labels_problem": str(error)}, None
    warped = resample(labels, grid, forward, "label")
    write_image(layout.warped_labels(key), warped)
    write_label_tables(layout.warped_labels(key), structures_of([warped]), table)
    return {"labels": True}, warped
