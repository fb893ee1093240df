"""Measure by how much the template would differ without each of its members."""

from pathlib import Path

from regcore.study.influence import measure_influence
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    measure_influence(
        paths(snakemake.input.prepared),
        population=paths(snakemake.input.population),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        symmetric=snakemake.params.symmetric,
    )
