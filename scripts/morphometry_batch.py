"""Smooth the log-Jacobians of the members of a batch."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.morphometry import morphometry_batch

with job(snakemake.log[0], snakemake.threads):
    morphometry_batch(
        Path(snakemake.input.population),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        settings=snakemake.params.settings,
    )
