"""Register the images of a batch to the template of the iteration before."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.template import register_batch

with job(snakemake.log[0], snakemake.threads):
    register_batch(
        paths(snakemake.input.prepared),
        previous=Path(snakemake.input.previous),
        template=Path(snakemake.input.template),
        output=Path(snakemake.output[0]),
        stage=snakemake.params.stage,
        channels=snakemake.params.channels,
        overrides=snakemake.params.overrides,
    )
