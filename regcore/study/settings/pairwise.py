"""Which images are registered to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from regcore.registration.settings import RegistrationSettings


@dataclass(frozen=True)
class PairwiseSettings:
    """Which images are registered to each other.

    Parameters
    ----------
    pairs : str, optional
        Table with `fixed` and `moving`, participants or files.
    reference : str, optional
        Participant or image file to which every member is registered.
    registration : RegistrationSettings
    """

    pairs: str | None = None
    reference: str | None = None
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
