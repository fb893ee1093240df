"""Carry the labels of every atlas to the members of a batch and fuse them."""

from pathlib import Path

from regcore.study.atlas import atlas_batch
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    atlas_batch(
        snakemake.params.members,
        atlases=snakemake.params.atlases,
        prepared=paths(snakemake.input.prepared),
        population=paths(snakemake.input.population),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        names=snakemake.params.names,
        settings=snakemake.params.settings,
    )
