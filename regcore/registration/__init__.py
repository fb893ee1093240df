"""Pairwise registration: settings, the linear and deformable solvers, and the driver."""

from typing import TYPE_CHECKING, Any

from regcore.registration.settings import (
    PRESETS,
    DeformableSettings,
    LinearSettings,
    RegistrationSettings,
    preset,
)

if TYPE_CHECKING:
    from regcore.registration.driver import Registration, register
    from regcore.registration.linear import IterationRow
    from regcore.registration.similarity import Channel

__all__ = [
    "PRESETS",
    "Channel",
    "DeformableSettings",
    "IterationRow",
    "LinearSettings",
    "Registration",
    "RegistrationSettings",
    "preset",
    "register",
]


def __getattr__(name: str) -> Any:
    # planning a study needs the settings alone: the solvers, and numba with them, load when first used
    if name in __all__:
        from regcore.registration import driver, linear, similarity

        rooms = {"IterationRow": linear, "Channel": similarity}
        return getattr(rooms.get(name, driver), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
