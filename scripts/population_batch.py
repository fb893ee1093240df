"""Publish transforms, warped images and Jacobian maps of the members of a batch."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.population import population_batch

# the sessions of a subject are weighed by the table beside their template
weights = snakemake.input.get("weights")

with job(snakemake.log[0], snakemake.threads):
    population_batch(
        paths(snakemake.input.prepared),
        registered=Path(snakemake.input.registered),
        template=Path(snakemake.input.template),
        weights=None if weights is None else Path(weights),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        labels=snakemake.params.labels,
        names=snakemake.params.names,
        settings=snakemake.params.settings,
    )
