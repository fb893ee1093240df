"""Measure structures, Jacobians and overlap of the members of a batch, and picture them on the template."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.measure import measure_batch

with job(snakemake.log[0], snakemake.threads):
    measure_batch(
        paths(snakemake.input.prepared),
        population=Path(snakemake.input.population) if snakemake.input.population else None,
        consensus=Path(snakemake.input.consensus) if snakemake.input.consensus else None,
        atlas=paths(snakemake.input.atlas),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        labels=snakemake.params.labels,
        names=snakemake.params.names,
        atlas_name=snakemake.params.atlas_name,
        settings=snakemake.params.settings,
        convention=snakemake.params.convention,
    )
