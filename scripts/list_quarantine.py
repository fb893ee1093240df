"""List the images that were set aside, and why."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.quarantine import list_quarantine

with job(snakemake.log[0], snakemake.threads):
    list_quarantine(
        paths(snakemake.input.folders),
        images=snakemake.params.images,
        output=Path(snakemake.output[0]),
    )
