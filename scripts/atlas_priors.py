"""Carry all atlases to the template: label probabilities and labels."""

from pathlib import Path

from regcore.study.carry import Places
from regcore.study.job import job, paths
from regcore.study.priors import atlas_priors

with job(snakemake.log[0], snakemake.threads):
    atlas_priors(
        snakemake.params.atlases,
        places=Places.of(
            snakemake.params.layout,
            prepared=paths(snakemake.input.prepared),
            population=paths(snakemake.input.population),
        ),
        files={name: Path(path) for name, path in snakemake.output.items()},
        names=snakemake.params.names,
        settings=snakemake.params.settings,
    )
