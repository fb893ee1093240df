"""Prepare an atlas from the table and register it to the template."""

from pathlib import Path

from regcore.study.atlas import prepare_atlas
from regcore.study.job import job

with job(snakemake.log[0], snakemake.threads):
    prepare_atlas(
        snakemake.wildcards.atlas,
        image=Path(snakemake.input.image),
        template=bool(snakemake.input.template),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        prepare=snakemake.params.settings,
        registration=snakemake.params.registration,
    )
