"""Average the published images into the template, with its mask, variance and bias certificate."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.publish import publish_template

with job(snakemake.log[0], snakemake.threads):
    publish_template(
        [Path(folder) for folder in snakemake.input.population],
        template=Path(snakemake.input.template),
        files={name: Path(path) for name, path in snakemake.output.items()},
        name=snakemake.params.layout.template,
    )
