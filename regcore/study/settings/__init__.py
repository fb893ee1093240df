"""Frozen settings of a study, a class a section of its configuration."""

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
from regcore.study.settings.sections import read_section, registration_settings
from regcore.study.settings.template import (
    PopulationSettings,
    QualitySettings,
    SessionsSettings,
    StrataSettings,
    TemplateSettings,
    TemplateStage,
)

__all__ = [
    "AtlasSettings",
    "ChannelSettings",
    "CohortSettings",
    "DatasetSettings",
    "DesignSettings",
    "MorphometrySettings",
    "PairwiseSettings",
    "PopulationSettings",
    "PrepareSettings",
    "PrivacySettings",
    "QualitySettings",
    "ReportSettings",
    "SessionsSettings",
    "StatisticsSettings",
    "StrataSettings",
    "TablesSettings",
    "TemplateSettings",
    "TemplateStage",
    "read_section",
    "registration_settings",
]
