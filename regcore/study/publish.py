"""Stage 3: the template that all published images average to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regcore import __version__
from regcore.groupwise import average, bias_certificate, deviation, sharpen
from regcore.image import Image
from regcore.io.nifti import write_image
from regcore.io.tables import read_json, write_json
from regcore.preprocess import foreground_mask
from regcore.study.channels import publish_channel_templates
from regcore.study.gather import STATE, read_partials
from regcore.study.job import LOGGER
from regcore.study.outputs import Layout, sidecar


def publish_template(
    population: Sequence[Path], template: Path, files: Mapping[str, Path], layout: Layout
) -> tuple[Image, Image]:
    """Average the published images and certify that the average is unbiased.

    Parameters
    ----------
    population : sequence of Path
        Folders of all batches.
    template : Path
        Folder of the template of the last iteration, for its convergence.
    files : mapping
        Output files: `template`, `mask`, `variance`, `sharpened`, `certificate` and, for the template of a
        population, `description`.
    layout : Layout
        Names of the template, and of the templates of further images.

    Returns
    -------
    tuple of Image
        The template and its mask.
    """
    partial = read_partials(population, "population")
    image = average(partial)
    mask = foreground_mask(image)
    spread = deviation(partial)
    certificate = bias_certificate(partial, mask)
    LOGGER.info("%s", certificate["verdict"])
    write_image(files["template"], image, decimals=5)
    write_json(
        sidecar(files["template"]),
        {
            "Description": f"Average of {partial.count} members after registration",
            "Units": "normalised: foreground median 0.5",
            "Resolution": f"{' x '.join(f'{size:.4g}' for size in image.grid.spacing)} mm",
            "Convergence": read_json(template / STATE)["rows"],
            "regcore": __version__,
        },
    )
    write_image(files["sharpened"], sharpen(image), decimals=5)
    write_image(files["variance"], Image(spread.data**2, spread.grid), decimals=6)
    write_image(files["mask"], mask)
    write_json(files["certificate"], certificate)
    publish_channel_templates(population, layout)
    # last: whoever finds the description finds everything else
    if "description" in files:
        write_json(files["description"], _description(layout.template, partial.count, image))
    return image, mask


def _description(name: str, count: int, image: Image) -> dict[str, Any]:
    return {
        "Identifier": name,
        "Name": f"Template {name}: average of {count} members",
        "BIDSVersion": "1.10.0",
        "TemplateFlowVersion": "1.0.0",
        "Authors": [],
        "License": "See the license of the source images",
        "res": {
            "1": {
                "origin": image.grid.affine[:3, 3],
                "shape": list(image.grid.shape),
                "zooms": image.grid.spacing,
            }
        },
    }
