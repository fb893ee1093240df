"""Screen, mask and normalise an image."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.prepare import prepare_member

with job(snakemake.log[0], snakemake.threads):
    prepare_member(
        snakemake.params.member,
        output=Path(snakemake.output[0]),
        settings=snakemake.params.settings,
    )
