"""Write the report of the study."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.report import make_report

with job(snakemake.log[0], snakemake.threads):
    make_report(
        snakemake.params.study,
        layout=snakemake.params.layout,
        templates=paths(snakemake.input.templates),
        measured=paths(snakemake.input.measured),
        covariates=snakemake.params.covariates,
        statistics=snakemake.params.designs,
        overrides=snakemake.params.overrides,
        output=Path(snakemake.output[0]),
        strata=snakemake.params.strata,
        disk_mb=snakemake.params.disk_mb,
    )
