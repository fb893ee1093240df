"""Take stock of an iteration that leaves the template as it is."""

from pathlib import Path

from regcore.study.given import hold_template
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    hold_template(
        paths(snakemake.input.registered),
        previous=Path(snakemake.input.previous),
        output=Path(snakemake.output[0]),
        iteration=int(snakemake.wildcards.iteration),
        stage=snakemake.params.stage,
        sharpen_copy=snakemake.params.sharpen,
        quality=snakemake.params.quality,
    )
