"""Where published files lie and what they are called: BIDS derivatives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regcore.errors import InputError
from regcore.io.tables import write_json
from regcore.space import Grid

SOURCE = "SourceDigest"
"""Key of a published transform's JSON file: digest of the image that was registered."""


@dataclass(frozen=True)
class Layout:
    """Names of the published files.

    Parameters
    ----------
    results : Path
        Root of the derivative dataset.
    template : str
        Name of the template.
    suffix : str
        Suffix of the images.
    subject : str, optional
        Key of the subject whose sessions' template this is, rather than one of a population.

    Examples
    --------
    >>> layout = Layout(Path("results"), "Study")
    >>> layout.member("sub-01_ses-2", "space-Study_desc-preproc_T1w.nii.gz").as_posix()
    'results/sub-01/ses-2/anat/sub-01_ses-2_space-Study_desc-preproc_T1w.nii.gz'
    """

    results: Path
    template: str = "Study"
    suffix: str = "T1w"
    subject: str | None = None

    @property
    def work(self) -> Path:
        """Folder of intermediate results."""
        return self.results / "work"

    @property
    def tables(self) -> Path:
        """Folder of the tables."""
        return self.results / "tables"

    def member(self, key: str, ending: str) -> Path:
        """File of a member."""
        return self.results.joinpath(*key.split("_"), "anat", f"{key}_{ending}")

    def of_template(self, ending: str, entities: str = "") -> Path:
        """File of the template, named as BIDS and TemplateFlow do; `entities` such as ``_atlas-A``."""
        if self.subject is not None:
            return self.member(self.subject, f"space-{self.template}{entities}_{ending}")
        return self.results / f"tpl-{self.template}" / f"tpl-{self.template}{entities}_res-01_{ending}"

    @property
    def template_description(self) -> Path:
        """What TemplateFlow wants to know about the template."""
        return self.results / f"tpl-{self.template}" / "template_description.json"

    def published(self) -> dict[str, Path]:
        """What is published of the template itself: `template`, `mask`, `variance`, `sharpened`, ..."""
        return {
            "description": self.template_description,
            "template": self.template_image,
            "mask": self.template_mask,
            "variance": self.of_template(f"desc-variance_{self.suffix}.nii.gz"),
            "sharpened": self.of_template(f"desc-sharpened_{self.suffix}.nii.gz"),
            "certificate": self.of_template("desc-bias_certificate.json"),
        }

    def stratum(self, number: int | str) -> dict[str, Path]:
        """Files of a conditional template, named as TemplateFlow names those of a cohort."""
        stem = f"tpl-{self.template}_cohort-{number}"
        folder = self.results / f"tpl-{self.template}" / f"cohort-{number}"
        return {
            "template": folder / f"{stem}_res-01_{self.suffix}.nii.gz",
            "mask": folder / f"{stem}_res-01_desc-foreground_mask.nii.gz",
            "log_jacobian": folder / f"{stem}_res-01_desc-abs_logjac.nii.gz",
            "forward": folder / f"{stem}_from-{self.template}_mode-image_xfm.h5",
            "backward": folder / f"{stem}_to-{self.template}_mode-image_xfm.h5",
        }

    def uri(self, file: Path) -> str:
        """BIDS URI of a published file.

        Examples
        --------
        >>> Layout(Path("results")).uri(Path("results/tpl-Study/a.json"))
        'bids::tpl-Study/a.json'
        """
        return f"bids::{file.relative_to(self.results).as_posix()}"

    @property
    def reference(self) -> str:
        """The template as `SpatialReference` of what is aligned to it."""
        return self.uri(self.template_image)

    @property
    def template_image(self) -> Path:
        """The published template."""
        return self.of_template(f"{self.suffix}.nii.gz")

    @property
    def template_mask(self) -> Path:
        """Foreground of the published template."""
        return self.of_template("desc-foreground_mask.nii.gz")

    def forward(self, key: str) -> Path:
        """Transform that brings a member's image to the template."""
        return self.member(key, f"from-{self.suffix}_to-{self.template}_mode-image_xfm.h5")

    def backward(self, key: str) -> Path:
        """Transform that brings the template to a member's image."""
        return self.member(key, f"from-{self.template}_to-{self.suffix}_mode-image_xfm.h5")

    def transforms(self, keys: Iterable[str]) -> list[Path]:
        """Transforms of members, both ways."""
        return [file for key in keys for file in (self.forward(key), self.backward(key))]

    def warped(self, key: str) -> Path:
        """Prepared image of a member in the template's space."""
        return self.member(key, f"space-{self.template}_desc-preproc_{self.suffix}.nii.gz")

    def warped_labels(self, key: str) -> Path:
        """A member's own labels in the template's space."""
        return self.member(key, f"space-{self.template}_dseg.nii.gz")

    def log_jacobian(self, key: str, kind: str) -> Path:
        """Map of the absolute (``abs``) or relative (``rel``) log-Jacobian."""
        return self.member(key, f"space-{self.template}_desc-{kind}_logjac.nii.gz")

    def smoothed_log_jacobian(self, key: str, kind: str) -> Path:
        """The same, smoothed."""
        return self.member(key, f"space-{self.template}_desc-{kind}Smoothed_logjac.nii.gz")

    @property
    def template_labels(self) -> Path:
        """Labels of the template: what most members' own labels say there."""
        return self.of_template("dseg.nii.gz")

    @property
    def statistics(self) -> Path:
        """Folder of the statistics, a folder a design in it."""
        return self.results / "statistics"

    def statistic_map(self, design: str, contrast: str, statistic: str) -> Path:
        """Map of a statistic of a contrast."""
        name = f"space-{self.template}_contrast-{contrast}_stat-{statistic}_statmap.nii.gz"
        return self.statistics / design / name

    def fused(self, key: str, atlas: str) -> Path:
        """Labels that the atlases give a member."""
        return self.member(key, f"atlas-{atlas}_dseg.nii.gz")

    def confidence(self, key: str, atlas: str) -> Path:
        """How sure the fused labels of a member are."""
        return self.member(key, f"atlas-{atlas}_desc-confidence_probseg.nii.gz")

    def propagated(self, key: str) -> Path:
        """Labels carried to a session from the other sessions of its subject."""
        return self.member(key, "desc-propagated_dseg.nii.gz")

    def accumulated(self, key: str, name: str) -> Path:
        """Sum over the sessions of a subject of a map of this name."""
        return self.member(key, f"space-{self.template}_desc-sum_{name}.nii.gz")

    def priors(self, atlas: str) -> dict[str, Path]:
        """What the atlases say about the template: `labels`, `confidence`, `probabilities`."""
        return {
            "labels": self.of_template("dseg.nii.gz", f"_atlas-{atlas}"),
            "confidence": self.of_template("desc-confidence_probseg.nii.gz", f"_atlas-{atlas}"),
            "probabilities": self.of_template("probseg.nii.gz", f"_atlas-{atlas}"),
        }


def sidecar(image: Path) -> Path:
    """JSON file that belongs to an image or transform.

    Examples
    --------
    >>> sidecar(Path("a/b_T1w.nii.gz")).name
    'b_T1w.json'
    """
    return image.with_name(image.name.split(".")[0] + ".json")


def describe(file: Path, description: str, **more: Any) -> None:
    """Write the JSON file that belongs to an image, with its `Description` first."""
    write_json(sidecar(file), {"Description": description, **more})


def resolution(grid: Grid) -> str:
    """Voxel sizes in words.

    Examples
    --------
    >>> import numpy as np
    >>> resolution(Grid((2, 2, 2), np.diag([1.0, 1.0, 2.5, 1.0])))
    '1 x 1 x 2.5 mm'
    """
    return f"{' x '.join(f'{size:.4g}' for size in grid.spacing)} mm"


def find_given(folder: Path, suffix: str, key: str, channels: Iterable[str] = ()) -> dict[str, Path]:
    """Images and, where there is one, foreground mask of a published template.

    Parameters
    ----------
    folder : Path
        ``tpl-<Name>``, as this workflow or TemplateFlow lays it out.
    suffix : str
        Of the image, such as ``T1w``.
    key : str
        Key of the configuration that names the folder.
    channels : iterable of str
        Suffixes of the further images that members are matched by.

    Returns
    -------
    dict
        `image`, `mask`, and each further image by its suffix.

    Raises
    ------
    InputError
        If the folder is none of a template, or has no such image.
    """
    name = folder.name.removeprefix("tpl-")
    if not folder.is_dir() or name == folder.name:
        raise InputError(f"config {key}: expected a folder tpl-<Name> of a template, found {folder}")
    # TemplateFlow keeps several voxel sizes: res-01 is the finest
    images = [
        *sorted(folder.glob(f"tpl-{name}_res-*_{suffix}.nii.gz")),
        folder / f"tpl-{name}_{suffix}.nii.gz",
    ]
    images = [image for image in images if image.is_file() and "_desc-" not in image.name]
    if not images:
        raise InputError(f"config {key}: expected an image tpl-{name}_res-01_{suffix}.nii.gz, found none")
    stem = images[0].name.removesuffix(f"{suffix}.nii.gz")
    mask = folder / f"{stem}desc-foreground_mask.nii.gz"
    further = {channel: folder / f"{stem}{channel}.nii.gz" for channel in channels}
    for channel, image in further.items():
        if not image.is_file():
            raise InputError(
                f"config cohort.channels: expected an image {image.name} in {key} {folder} to match "
                f"{channel} with, found none: add it there, or leave {channel} out of cohort.channels"
            )
    return {"image": images[0]} | ({"mask": mask} if mask.is_file() else {}) | further


def known_transform(folder: Path, suffix: str, key: str) -> Path | None:
    """Transform of a member to a given template, where it lies in the results that the template is of."""
    layout = Layout(folder.parent, folder.name.removeprefix("tpl-"), suffix)
    found = layout.forward(key)
    return found if found.is_file() and sidecar(found).is_file() else None
