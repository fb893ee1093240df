"""Images registered to each other two by two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.itk import write_transform
from regcore.io.nifti import read_image, write_image
from regcore.io.screen import screen_image
from regcore.io.tables import write_json
from regcore.morphometry import log_jacobian
from regcore.preprocess import foreground_mask, is_stripped
from regcore.registration import RegistrationSettings, register
from regcore.resample import resample
from regcore.study.job import LOGGER
from regcore.study.manifest import Entry, good, read_manifest, set_aside, write_manifest
from regcore.study.outputs import Layout, describe, sidecar
from regcore.study.planning.pairs import Pair, endpoint_name
from regcore.study.prepare import prepare_image
from regcore.study.quality import affine_quality, mask_overlap
from regcore.study.settings import PrepareSettings


def pairwise_batch(
    pairs: Sequence[Pair],
    prepared: Sequence[Path],
    output: Path,
    layout: Layout,
    prepare: PrepareSettings,
    registration: RegistrationSettings,
) -> None:
    """Register the pairs of a batch and publish transforms, warped images and Jacobian maps.

    Parameters
    ----------
    pairs : sequence of Pair
    prepared : sequence of Path
        Folders of the prepared batches that hold the members among the pairs.
    output : Path
        Folder for the manifest.
    layout : Layout
    prepare : PrepareSettings
        For images that are no members.
    registration : RegistrationSettings
    """
    known = {key: (folder, entry) for folder in prepared for key, entry in read_manifest(folder).items()}
    entries: dict[str, Entry] = {}
    published: list[Path] = []
    for pair in pairs:
        about = {"fixed": pair.fixed, "moving": pair.moving}
        try:
            fixed, moving = (_load(end, known, prepare) for end in (pair.fixed, pair.moving))
            result = register(fixed, moving, registration)
        except InputError as error:
            entries[pair.key] = set_aside("pairwise", str(error), **about)
            LOGGER.warning("%s: %s", pair.key, error)
            continue
        space = endpoint_name(pair.fixed).removeprefix("sub-")
        key = pair.moving if pair.moving in known else f"sub-{endpoint_name(pair.moving)}"
        forward = layout.member(key, f"from-{layout.suffix}_to-{space}_mode-image_xfm.h5")
        backward = layout.member(key, f"from-{space}_to-{layout.suffix}_mode-image_xfm.h5")
        write_transform(forward, result.forward)
        write_transform(backward, result.backward)
        published += [forward, backward]
        warped = resample(moving, fixed.grid, result.forward)
        mask = foreground_mask(fixed)
        quality = result.quality | {
            "mask_dice": mask_overlap(mask, warped),
            **affine_quality(result.forward, fixed),
        }
        write_json(sidecar(forward), {"Quality": quality})
        file = layout.member(key, f"space-{space}_desc-preproc_{layout.suffix}.nii.gz")
        write_image(file, warped, decimals=4)
        describe(
            file,
            f"Prepared image brought to {space}",
            SpatialReference=pair.fixed,
            SkullStripped=is_stripped(warped),
        )
        for kind in ("abs", "rel"):
            jacobian = log_jacobian(result.forward, fixed.grid, kind == "rel", mask)
            write_image(layout.member(key, f"space-{space}_desc-{kind}_logjac.nii.gz"), jacobian, decimals=4)
        entries[pair.key] = good(quality=quality, **about)
        LOGGER.info("%s: similarity %.4f", pair.key, quality["similarity_after"])
    write_manifest(output, entries, published)


def _load(end: str, known: dict[str, tuple[Path, Entry]], settings: PrepareSettings) -> Image:
    """Prepared image of a member or of a file."""
    if end in known:
        folder, entry = known[end]
        if entry["status"] != "ok":
            raise InputError(f"{end}: expected a usable image, found: {entry['reason']}")
        return read_image(folder / entry["image"])
    reason = screen_image(end)
    if reason is not None:
        raise InputError(f"{end}: {reason}")
    return prepare_image(read_image(end), None, settings)[0]
