"""Test a design in every voxel and every structure."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.statistics import statistics_design

with job(snakemake.log[0], snakemake.threads):
    statistics_design(
        snakemake.wildcards.design,
        morphometry=paths(snakemake.input.morphometry),
        regions={kind: Path(path) for kind, path in snakemake.params.regions.items()},
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        covariates=snakemake.params.covariates,
        settings=snakemake.params.settings,
    )
