"""Which images a study takes, and what happens to each before it is registered."""

from __future__ import annotations

from dataclasses import dataclass, field

from regcore.errors import InputError


@dataclass(frozen=True)
class ChannelSettings:
    """How much a further image of each member counts, and by which measure.

    Parameters
    ----------
    weight : float
        Factor of its measure; that of the first image counts 1.
    metric : str, optional
        Measure of this image, in every stage; that of the stage if None.
    """

    weight: float = 1.0
    metric: str | None = None


@dataclass(frozen=True)
class CohortSettings:
    """Where the images are.

    Parameters
    ----------
    source : str
        BIDS folder, or a table with `participant_id` and `image`.
    suffix : str
        Suffix of the images in a BIDS folder; also names the published images.
    entities : dict
        Further entities of the images in a BIDS folder, such as ``{"run": "1"}``.
    labels_from, labels_description, masks_from : str, optional
        Derivative folders with labels and masks of the members, and the ``desc-`` of the labels.
    label_names : str, optional
        Table with `index` and `name`; found beside the labels if it is not given.
    channels : dict
        Further images of each member, by their suffix or column.
    """

    source: str = ""
    suffix: str = "T1w"
    entities: dict[str, str] = field(default_factory=dict)
    labels_from: str | None = None
    labels_description: str | None = None
    masks_from: str | None = None
    label_names: str | None = None
    channels: dict[str, ChannelSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class PrivacySettings:
    """What hides who takes part: `pseudonym_secret`, the file that pseudonyms are made with."""

    pseudonym_secret: str | None = None


@dataclass(frozen=True)
class PrepareSettings:
    """What happens to every image before it is registered.

    Parameters
    ----------
    n4 : bool
        Whether to correct the intensity bias field (N4, needs SimpleITK).
    winsorise_percent : tuple of 2 float
        Foreground percentiles at which intensities are cut.
    brain_only : bool
        Whether everything outside the member's mask is left out, so that no output shows a face.
    """

    n4: bool = False
    brain_only: bool = False
    winsorise_percent: tuple[float, float] = (0.5, 99.5)

    def __post_init__(self) -> None:
        """Refuse percentiles in the wrong order."""
        if self.winsorise_percent[0] >= self.winsorise_percent[1]:
            raise InputError(
                f"prepare.winsorise_percent: expected the lower value first, found {self.winsorise_percent}"
            )
