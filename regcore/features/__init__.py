"""Registration by features and landmarks: keypoints, descriptors, matches, robust fits, and their errors."""

from regcore.features.accuracy import ERROR_COLUMNS, error_summary, error_table, registration_errors
from regcore.features.correspondence import (
    MODELS,
    Correspondences,
    LandmarkFit,
    default_tolerance,
    find_correspondences,
    fit_transform,
)
from regcore.features.descriptors import Features, describe, extract_features
from regcore.features.field import fit_field
from regcore.features.fit import RobustFit, fit_linear, fit_robust
from regcore.features.keypoints import Keypoints, detect
from regcore.features.matching import Matches, locally_consistent, match
from regcore.features.scalespace import Octave, scale_space
from regcore.features.settings import KeypointSettings, MatchSettings, RansacSettings

__all__ = [
    "ERROR_COLUMNS",
    "MODELS",
    "Correspondences",
    "Features",
    "KeypointSettings",
    "Keypoints",
    "LandmarkFit",
    "MatchSettings",
    "Matches",
    "Octave",
    "RansacSettings",
    "RobustFit",
    "default_tolerance",
    "describe",
    "detect",
    "error_summary",
    "error_table",
    "extract_features",
    "find_correspondences",
    "fit_field",
    "fit_linear",
    "fit_robust",
    "fit_transform",
    "locally_consistent",
    "match",
    "registration_errors",
    "scale_space",
]
