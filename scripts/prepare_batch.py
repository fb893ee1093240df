"""Screen, mask and normalise the images of a batch."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.prepare import prepare_batch

with job(snakemake.log[0], snakemake.threads):
    prepare_batch(
        snakemake.params.members,
        output=Path(snakemake.output[0]),
        settings=snakemake.params.settings,
    )
