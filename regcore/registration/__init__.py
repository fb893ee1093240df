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

__all__ = [
    "PRESETS",
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
        from regcore.registration import driver, linear

        return getattr(linear if name == "IterationRow" else driver, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
