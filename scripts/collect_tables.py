"""Put the rows of all batches together and join the covariates."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.tables import collect_tables

with job(snakemake.log[0], snakemake.threads):
    collect_tables(
        paths(snakemake.input.folders),
        template=Path(snakemake.input.template) if snakemake.input.template else None,
        outputs=dict(zip(snakemake.params.tables, map(Path, snakemake.output), strict=True)),
        covariates=snakemake.params.covariates,
        names=snakemake.params.names,
    )
