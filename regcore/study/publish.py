"""Stage 3: the template that all published images average to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from regcore import __version__
from regcore.groupwise import average, bias_certificate, deviation, sharpen
from regcore.image import Image
from regcore.io.arrays import read_arrays
from regcore.io.nifti import write_image
from regcore.io.tables import read_json, read_table, write_json, write_table
from regcore.labels.consensus import Votes, merge_votes
from regcore.preprocess import foreground_mask
from regcore.space import Grid
from regcore.study.gather import STATE, read_partials
from regcore.study.job import LOGGER
from regcore.study.manifest import usable_members
from regcore.study.outputs import sidecar
from regcore.study.population import VOTES
from regcore.study.tables import DICTIONARY
from regcore.study.weighing import QC

CONSENSUS = "consensus.nii.gz"


def publish_qc(template: Path, output: Path) -> None:
    """Publish what every member weighs in the template: the file that the build reads from here on.

    Parameters
    ----------
    template : Path
        Folder of the template of the last iteration.
    output : Path
        Table, a row a member.
    """
    frame = read_table(template / QC)
    if not frame["session_id"].notna().any():
        frame = frame.drop(columns="session_id")
    write_table(output, frame, DICTIONARY)
    for row in frame[frame["weight"] < 1].to_dict("records"):
        LOGGER.info("%s weighs %.4g: %s", row["participant_id"], row["weight"], row["reason"])


def publish_template(
    population: Sequence[Path], template: Path, files: Mapping[str, Path], name: str
) -> None:
    """Average the published images and certify that the average is unbiased.

    Parameters
    ----------
    population : sequence of Path
        Folders of all batches.
    template : Path
        Folder of the template of the last iteration, for its convergence.
    files : mapping
        Outputs: the files `template`, `mask`, `variance`, `sharpened`, `certificate` and `description`, and
        the folder `consensus` of the members' own labels, which is empty where they have none.
    name : str
        Of the template.
    """
    partial = read_partials(population, "population")
    image = average(partial)
    mask = foreground_mask(image)
    spread = deviation(partial)
    certificate = bias_certificate(partial, mask)
    weights = {key: entry["weight"] for _, key, entry in usable_members(population, "population")}
    LOGGER.info("%s", certificate["verdict"])
    write_image(files["template"], image, decimals=5)
    write_json(
        sidecar(files["template"]),
        {
            "Description": f"Average of {partial.count} members after registration",
            "Weights": weights,
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
    files["consensus"].mkdir(parents=True, exist_ok=True)
    consensus = read_consensus(population, image.grid)
    if consensus is not None:
        write_image(files["consensus"] / CONSENSUS, consensus)
    # last: whoever finds the description finds everything else
    write_json(
        files["description"],
        {
            "Identifier": name,
            "Name": f"Template {name}: average of {partial.count} members",
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
        },
    )


def read_consensus(population: Sequence[Path], grid: Grid) -> Image | None:
    """Labels that most members have on the template; None where no member has labels of its own."""
    votes: list[Votes] = []
    for folder in population:
        if (folder / VOTES).exists():
            said = read_arrays(folder / VOTES)
            # two at a time: memory does not grow with the cohort
            votes[:] = [merge_votes([*votes, Votes(grid, said["label"], said["lead"])])]
    return votes[0].consensus if votes else None
