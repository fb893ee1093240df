"""Pairwise registration: settings, the linear and deformable solvers, and the driver."""

from typing import TYPE_CHECKING, Any

from regcore.registration.presets import preset, preset_names, preset_purpose, read_settings
from regcore.registration.settings import DeformableSettings, LinearSettings, RegistrationSettings

if TYPE_CHECKING:
    from regcore.registration.driver import Registration, register
    from regcore.registration.labels import label_channels
    from regcore.registration.linear import IterationRow
    from regcore.registration.similarity import Channel

__all__ = [
    "Channel",
    "DeformableSettings",
    "IterationRow",
    "LinearSettings",
    "Registration",
    "RegistrationSettings",
    "label_channels",
    "preset",
    "preset_names",
    "preset_purpose",
    "read_settings",
    "register",
]


def __getattr__(name: str) -> Any:
    # planning a study needs the settings alone: the solvers, and numba with them, load when first used
    if name in __all__:
        from regcore.registration import driver, labels, linear, similarity

        rooms = {"IterationRow": linear, "Channel": similarity, "label_channels": labels}
        return getattr(rooms.get(name, driver), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
