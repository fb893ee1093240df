"""Label an atlas by all others and compare with its own labels."""

from pathlib import Path

from regcore.study.carry import Places
from regcore.study.job import job, paths
from regcore.study.validation import validate_atlas

with job(snakemake.log[0], snakemake.threads):
    validate_atlas(
        snakemake.wildcards.key,
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
        methods=snakemake.params.methods,
    )
