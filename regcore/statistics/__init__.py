"""Statistics of a cohort: designs from formulas, models of voxels and of structures, permutations."""

from regcore.statistics.design import Contrast, Design, Formula, build_contrasts, build_design, parse_formula
from regcore.statistics.effects import cohens_d, partial_correlation
from regcore.statistics.permutation import Permutations, permute
from regcore.statistics.structures import structure_models
from regcore.statistics.voxelwise import Fit, fit_contrast

__all__ = [
    "Contrast",
    "Design",
    "Fit",
    "Formula",
    "Permutations",
    "build_contrasts",
    "build_design",
    "cohens_d",
    "fit_contrast",
    "parse_formula",
    "partial_correlation",
    "permute",
    "structure_models",
]
