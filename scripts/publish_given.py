"""Publish a frozen template as it is, with how the members of this study lie about it."""

from pathlib import Path

from regcore.study.given import publish_given
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    publish_given(
        paths(snakemake.input.population),
        template=Path(snakemake.input.template),
        files=snakemake.params.files,
        layout=snakemake.params.layout,
        about=snakemake.params.dataset,
        strata=snakemake.params.strata,
    )
