"""Which libraries a study calls."""

from __future__ import annotations

from regcore.study.config import Study

ALWAYS = ("numpy", "scipy", "numba", "nibabel", "pandas", "snakemake")


def libraries_of(study: Study) -> tuple[str, ...]:
    """Libraries whose versions the report states: those of every study, and those that its settings call for.

    Examples
    --------
    >>> config = {"cohort": {"source": "a"}, "targets": ["tables"], "prepare": {"n4": True}}
    >>> libraries_of(Study.from_dict(config))[-1]
    'SimpleITK'
    """
    statistics = ("formulaic", "statsmodels") if "statistics" in study.targets else ()
    return (*ALWAYS, *statistics, *(("SimpleITK",) if study.prepare.n4 else ()))
