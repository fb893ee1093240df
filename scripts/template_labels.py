"""Label the template as most members' own labels do."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.morphometry import template_labels

with job(snakemake.log[0], snakemake.threads):
    template_labels(
        paths(snakemake.input.population),
        layout=snakemake.params.layout,
        output=Path(snakemake.output[0]),
        names=snakemake.params.names,
    )
