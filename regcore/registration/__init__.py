"""Pairwise registration: settings, the linear and deformable solvers, and the driver."""

from regcore.registration.linear import IterationRow
from regcore.registration.register import Registration, register
from regcore.registration.settings import (
    PRESETS,
    DeformableSettings,
    LinearSettings,
    RegistrationSettings,
    preset,
)

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
