"""Where published files lie and what they are called: BIDS derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regcore import __version__
from regcore.io.tables import write_json


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

    def of_template(self, ending: str) -> Path:
        """File of the template."""
        if self.subject is not None:
            return self.member(self.subject, f"space-{self.template}_{ending}")
        return self.results / f"tpl-{self.template}" / f"tpl-{self.template}_{ending}"

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

    def warped(self, key: str) -> Path:
        """Prepared image of a member in the template's space."""
        return self.member(key, f"space-{self.template}_desc-preproc_{self.suffix}.nii.gz")

    def warped_labels(self, key: str) -> Path:
        """A member's own labels in the template's space."""
        return self.member(key, f"space-{self.template}_dseg.nii.gz")

    def log_jacobian(self, key: str, kind: str) -> Path:
        """Map of the absolute (``abs``) or relative (``rel``) log-Jacobian."""
        return self.member(key, f"space-{self.template}_desc-{kind}_logjac.nii.gz")

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
            "labels": self.of_template(f"atlas-{atlas}_dseg.nii.gz"),
            "confidence": self.of_template(f"atlas-{atlas}_desc-confidence_probseg.nii.gz"),
            "probabilities": self.of_template(f"atlas-{atlas}_probseg.nii.gz"),
        }


def sidecar(image: Path) -> Path:
    """JSON file that belongs to an image or transform.

    Examples
    --------
    >>> sidecar(Path("a/b_T1w.nii.gz")).name
    'b_T1w.json'
    """
    return image.with_name(image.name.split(".")[0] + ".json")


def describe_dataset(output: Path, source: str) -> None:
    """Write ``dataset_description.json`` of the results.

    Parameters
    ----------
    output : Path
    source : str
        Where the images came from.
    """
    write_json(
        output,
        {
            "Name": "Groupwise registration",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "regcore", "Version": __version__}],
            "SourceDatasets": [{"URL": source}],
        },
    )
