"""Stage 3: the template that all published images average to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from regcore import __version__
from regcore.groupwise import average, bias_certificate, deviation, sharpen, symmetrise
from regcore.image import Image
from regcore.io.arrays import link_file
from regcore.io.nifti import write_image
from regcore.io.tables import read_json, read_table, write_json, write_table
from regcore.preprocess import foreground_mask, is_stripped
from regcore.study.channels import publish_channel_templates
from regcore.study.dataset import template_description
from regcore.study.dictionary import DICTIONARY
from regcore.study.gather import STATE, read_partials
from regcore.study.integrity import verify_folder
from regcore.study.job import LOGGER
from regcore.study.manifest import usable_members
from regcore.study.outputs import Layout, describe, resolution
from regcore.study.settings import DatasetSettings
from regcore.study.stratify import Stratum
from regcore.study.weighing import QC


def publish_qc(template: Path, output: Path) -> None:
    """Publish what every member weighs in the template: the file that the build reads from here on.

    Parameters
    ----------
    template : Path
        Folder of the template of the last iteration.
    output : Path
        Table, a row a member.
    """
    verify_folder(template)
    frame = read_table(template / QC)
    if not frame["session_id"].notna().any():
        frame = frame.drop(columns="session_id")
    write_table(output, frame, DICTIONARY)
    for row in frame[frame["weight"] < 1].to_dict("records"):
        LOGGER.info("%s weighs %.4g: %s", row["participant_id"], row["weight"], row["reason"])


def publish_template(
    population: Sequence[Path],
    template: Path,
    files: Mapping[str, Path],
    layout: Layout,
    about: DatasetSettings | None = None,
    symmetric: bool = False,
    strata: Sequence[Stratum] = (),
) -> tuple[Image, Image]:
    """Average the published images and certify that the average is unbiased.

    Parameters
    ----------
    population : sequence of Path
        Folders of all batches.
    template : Path
        Folder of the template of the last iteration, for its convergence.
    files : mapping
        Output files, as `Layout.published` names them; a subject's template has no `description`.
    layout : Layout
        Names of the template, and of the templates of further images.
    about : DatasetSettings, optional
        What the template says about itself, where it has a description.
    symmetric : bool
        Whether every member counts with its mirror.
    strata : sequence of Stratum
        Conditional templates beside it.

    Returns
    -------
    tuple of Image
        The template and its mask.
    """
    partial = read_partials(population, "population", symmetric)
    image = average(partial)
    mask, sharp = foreground_mask(image), sharpen(image)
    if symmetric:
        mask, sharp = symmetrise(mask), symmetrise(sharp)
    spread = deviation(partial)
    certificate = bias_certificate(partial, mask)
    weights = {key: entry["weight"] for _, key, entry in usable_members(population, "population")}
    LOGGER.info("%s", certificate["verdict"])
    common = {"SpatialReference": layout.reference, "Resolution": resolution(image.grid)}
    stripped = {"SkullStripped": is_stripped(image)}
    scale = {**stripped, "Units": "normalised: foreground median 0.5"}
    write_image(files["template"], image, decimals=5)
    describe(
        files["template"],
        f"Average of {partial.count} members after registration",
        **common,
        **scale,
        Weights=weights,
        Symmetric=symmetric,
        Convergence=read_json(template / STATE)["rows"],
        regcore=__version__,
    )
    write_image(files["sharpened"], sharp, decimals=5)
    describe(files["sharpened"], "Template, sharpened without overshoot", **common, **scale)
    write_image(files["variance"], Image(spread.data**2, spread.grid), decimals=6)
    describe(files["variance"], "Variance of the intensity over the members", **common, **stripped)
    write_image(files["mask"], mask)
    sources = [layout.reference]
    describe(files["mask"], "Foreground of the template", **common, Type="ROI", Sources=sources)
    write_json(files["certificate"], certificate)
    publish_channel_templates(population, layout, symmetric)
    # last: whoever finds the description finds everything else
    if "description" in files:
        text = template_description(layout.template, partial.count, image, about or DatasetSettings(), strata)
        write_json(files["description"], text)
    return image, mask


def upload_results(layout: Layout, output: Path) -> None:
    """Give a folder, which Snakemake brings to an object store, all results but the working folder.

    Parameters
    ----------
    layout : Layout
    output : Path
        Local copy of the folder in the store: of hard links, where the file system has them.
    """
    found = (file for file in sorted(layout.results.rglob("*")) if file.is_file())
    # Snakemake marks folders by files of its own
    kept = [file for file in found if layout.work not in file.parents and file.name != ".snakemake_timestamp"]
    for file in kept:
        link_file(file, output / file.relative_to(layout.results))
    LOGGER.info("%d files", len(kept))
