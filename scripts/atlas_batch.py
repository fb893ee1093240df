"""Carry the labels of every atlas to the members of a batch and fuse them."""

from pathlib import Path

from regcore.study.atlas import atlas_batch
from regcore.study.carry import Places
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    atlas_batch(
        snakemake.params.members,
        atlases=snakemake.params.atlases,
        places=Places.of(
            snakemake.params.layout,
            prepared=paths(snakemake.input.prepared),
            population=paths(snakemake.input.population),
            library=paths(snakemake.input.library),
        ),
        output=Path(snakemake.output[0]),
        names=snakemake.params.names,
        settings=snakemake.params.settings,
    )
