"""Register pairs of images."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.pairwise import pairwise_batch

with job(snakemake.log[0], snakemake.threads):
    pairwise_batch(
        snakemake.params.pairs,
        prepared=paths(snakemake.input.prepared),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        prepare=snakemake.params.prepare,
        registration=snakemake.params.settings,
    )
