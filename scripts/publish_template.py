"""Average the published images into the template, with its mask, variance and bias certificate."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.publish import publish_template

with job(snakemake.log[0], snakemake.threads):
    publish_template(
        paths(snakemake.input.population),
        template=Path(snakemake.input.template),
        files={name: Path(path) for name, path in snakemake.output.items()},
        layout=snakemake.params.layout,
    )
