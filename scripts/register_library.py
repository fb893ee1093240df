"""Register every atlas to a member of the template library."""

from pathlib import Path

from regcore.study.carry import Places, register_library
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    register_library(
        snakemake.wildcards.key,
        atlases=snakemake.params.atlases,
        places=Places.of(
            snakemake.params.layout,
            prepared=paths(snakemake.input.prepared),
            population=paths(snakemake.input.population),
        ),
        output=Path(snakemake.output[0]),
        settings=snakemake.params.settings,
    )
