"""Stage 3: what is published of every member: transforms both ways, warped image, Jacobian maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

from regcore import __version__
from regcore.errors import InputError, unnamed
from regcore.groupwise import PartialSum, update_transform
from regcore.image import Image
from regcore.io.arrays import write_arrays
from regcore.io.itk import read_transform, write_transform
from regcore.io.label_tables import LABEL_COLUMNS, LabelTable, read_label_table, write_label_tables
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import write_json
from regcore.kernels.invert import invert
from regcore.labels.overlap import structures_of
from regcore.morphometry import log_jacobian, log_size
from regcore.preprocess import foreground_mask, is_stripped
from regcore.registration.folds import make_diffeomorphic
from regcore.resample import resample
from regcore.space import Grid
from regcore.study.channels import ChannelSums, publish_warped_channels, read_channels
from regcore.study.integrity import verify_folder
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, located, nobody, read_manifest, set_aside, write_manifest
from regcore.study.outputs import SOURCE, Layout, describe, sidecar
from regcore.study.quality import affine_quality, map_quality, mask_overlap, similarity
from regcore.study.settings import PopulationSettings
from regcore.study.template import PARTIAL, add_member
from regcore.study.weighing import QC, read_weights
from regcore.transforms import Chain, Displacement, Transform, peel, split


def population_batch(
    prepared: Sequence[Path],
    registered: Path,
    template: Path,
    weights: Path | None,
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
    weights : Path or None
        The published ``qc.tsv``: what every member weighs in the template; None: that of `template`.
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
    if nobody([registered]):
        write_manifest(output, read_manifest(registered))
        return
    verify_folder(template)
    fixed = read_image(template / "template.nii.gz")
    update = Chain((read_transform(template / "update.h5", sealed=True),))
    images = located(prepared)
    mask = foreground_mask(fixed)
    decided = read_weights(template / QC if weights is None else weights, following=False)
    table = LabelTable() if names is None else read_label_table(names)
    entries: dict[str, Entry] = {}
    parts: list[PartialSum] = []
    further = ChannelSums()
    for key, before in read_manifest(registered).items():
        entries[key] = before
        if before["status"] != "ok":
            continue
        folder, original = images[key]
        image = read_image(folder / original["image"])
        try:
            known = read_transform(registered / before["transform"], sealed=True)
            start = update_transform(known, update, fixed.grid)
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
        publish_member(layout, key, warped, mask, forward, backward, quality, original["digest"])
        others = further.add(read_channels(folder, original), fixed.grid, forward, mode, decided[key].value)
        publish_warped_channels(layout, key, others)
        entries[key] = good(quality=quality, **decided[key].entry)
        if key in labels:
            entries[key] |= _publish_labels(layout, key, Path(labels[key]), fixed.grid, forward, table)
        LOGGER.info("%s: similarity %.4f", key, quality["similarity_after"])
    further.write(output)
    if parts:
        write_arrays(output / PARTIAL, parts[0].to_arrays())
    there = [key for key, entry in entries.items() if entry["status"] == "ok"]
    write_manifest(output, entries, layout.transforms(there))


def both_ways(transform: Transform, grid: Grid) -> tuple[Chain, Chain]:
    """A transform as affine after displacement, and its inverse; neither folds. An affine stays alone.

    Parameters
    ----------
    transform : Transform
        World mm of `grid` to world mm of the member.
    grid : Grid
        Where both displacements lie.

    Returns
    -------
    forward, backward : Chain
        ``(Affine, Displacement)`` and ``(Displacement, Affine)``, or each an affine.
    """
    affine, rest = peel(transform)
    if not rest.transforms:
        return Chain((affine,)), Chain((affine.inverse(),))
    displacement = split(transform, grid, affine=affine)[1]
    field = make_diffeomorphic(displacement.field)[0]
    inverse = make_diffeomorphic(invert(field))[0]
    return (
        Chain((affine, Displacement(field, grid))),
        Chain((Displacement(inverse, grid), affine.inverse())),
    )


def _displacement(transform: Chain) -> Displacement | None:
    return next((step for step in transform.transforms if isinstance(step, Displacement)), None)


def publish_member(
    layout: Layout,
    key: str,
    warped: Image,
    mask: Image,
    forward: Chain,
    backward: Chain,
    quality: Mapping[str, object],
    digest: str,
    collapsed: Chain | None = None,
) -> None:
    """Publish transforms, warped image and log-Jacobian maps of a member.

    Parameters
    ----------
    layout : Layout
    key : str
    warped : Image
        In the template's space.
    forward, backward : Chain
    quality : mapping
        Goes beside the transform.
    collapsed : Chain, optional
        `forward` as one affine after one displacement, where it is a longer chain.
    """
    write_transform(layout.forward(key), forward)
    write_transform(layout.backward(key), backward)
    about = {
        "regcore": __version__,
        "Quality": quality,
        "Direction": "points of the second space to the first",
        SOURCE: digest,
    }
    write_json(sidecar(layout.forward(key)), about)
    write_image(layout.warped(key), warped, decimals=4)
    describe(
        layout.warped(key),
        "Prepared image brought to the template",
        SpatialReference=layout.reference,
        Units="normalised: foreground median 0.5",
        SkullStripped=is_stripped(warped),
    )
    for kind in ("abs", "rel"):
        jacobian = log_jacobian(collapsed or forward, warped.grid, kind == "rel", mask)
        write_image(layout.log_jacobian(key, kind), jacobian, decimals=4)
        describe(
            layout.log_jacobian(key, kind),
            "Natural logarithm of the Jacobian determinant; above 0 where the subject is larger than the "
            "template"
            + (
                ", less LogSize, that of the affine nearest to the whole map inside the template"
                if kind == "rel"
                else ""
            ),
            LogSize=log_size(collapsed or forward, warped.grid, mask),
            SpatialReference=layout.reference,
        )


def _publish_labels(
    layout: Layout, key: str, file: Path, grid: Grid, forward: Chain, table: LabelTable
) -> Entry:
    """A member's own labels in template space; labels that cannot be read spoil nothing else."""
    try:
        labels = read_labels(file)
    except InputError as error:
        reason = unnamed(error, file)
        LOGGER.warning("%s: labels left out: %s", key, reason)
        return {"labels_problem": reason}
    warped = resample(labels, grid, forward, "label")
    write_image(layout.warped_labels(key), warped)
    describe(
        layout.warped_labels(key),
        "The member's own labels brought to the template",
        SpatialReference=layout.reference,
        Columns=LABEL_COLUMNS,
    )
    write_label_tables(layout.warped_labels(key), structures_of([warped]), table)
    return {"labels": True}
