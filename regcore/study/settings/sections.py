"""Sections of a configuration file become settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regcore.errors import InputError
from regcore.registration.presets import preset
from regcore.registration.settings import RegistrationSettings
from regcore.study.settings.atlas import AtlasSettings
from regcore.study.settings.images import ChannelSettings, CohortSettings, PrepareSettings, PrivacySettings
from regcore.study.settings.pairwise import PairwiseSettings
from regcore.study.settings.results import (
    DatasetSettings,
    DesignSettings,
    MorphometrySettings,
    ReportSettings,
    StatisticsSettings,
    TablesSettings,
)
from regcore.study.settings.template import (
    PopulationSettings,
    QualitySettings,
    SessionsSettings,
    StrataSettings,
    TemplateSettings,
    TemplateStage,
)

SECTIONS: dict[str, type[Any]] = {
    "cohort": CohortSettings,
    "privacy": PrivacySettings,
    "dataset": DatasetSettings,
    "prepare": PrepareSettings,
    "template": TemplateSettings,
    "sessions": SessionsSettings,
    "population": PopulationSettings,
    "atlas": AtlasSettings,
    "pairwise": PairwiseSettings,
    "strata": StrataSettings,
    "tables": TablesSettings,
    "morphometry": MorphometrySettings,
    "statistics": StatisticsSettings,
    "qc": QualitySettings,
    "report": ReportSettings,
}


def read_section(name: str, value: Any) -> Any:
    """Settings of one top-level key."""
    if name not in SECTIONS:
        return tuple(value) if isinstance(value, list) else value
    kind = SECTIONS[name]
    ready = {key: _value(name, key, entry) for key, entry in value.items()}
    return kind(**ready)


def _value(section: str, key: str, value: Any) -> Any:
    if key in ("registration", "library_registration"):
        return registration_settings(f"{section}.{key}", value)
    if key == "channels":
        return {name: ChannelSettings(**(entry or {})) for name, entry in value.items()}
    if key == "stages":
        return tuple(_stage(f"{section}.stages[{index}]", entry) for index, entry in enumerate(value))
    if key == "designs":
        return {name: DesignSettings(**entry) for name, entry in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _stage(key: str, value: Mapping[str, Any]) -> TemplateStage:
    settings = registration_settings(
        key, {"linear": value.get("linear", []), "deformable": value.get("deformable")}
    )
    if not settings.linear and settings.deformable is None:
        raise InputError(f"{key}: expected a linear or a deformable registration, found neither")
    return TemplateStage(str(value["name"]), int(value.get("repeats", 1)), settings)


def registration_settings(key: str, value: str | Mapping[str, Any]) -> RegistrationSettings:
    """Settings from the name of a preset or from a mapping with `linear` and `deformable`.

    Examples
    --------
    >>> registration_settings("atlas.registration", "affine").deformable is None
    True
    """
    try:
        settings = preset(value) if isinstance(value, str) else RegistrationSettings.from_dict(value)
    except InputError as error:
        raise InputError(f"{key}.{error}") from None
    if settings.labels:
        raise InputError(f"{key}.labels: expected false, since a study registers intensities, found true")
    return settings
