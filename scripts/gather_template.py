"""Average what the batches of an iteration bring and move the average to the population's middle."""

from pathlib import Path

from regcore.study.gather import gather_template
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    gather_template(
        paths(snakemake.input.registered),
        previous=paths(snakemake.input.previous),
        output=Path(snakemake.output[0]),
        iteration=int(snakemake.wildcards.iteration),
        stage=snakemake.params.stage,
        sharpen_copy=snakemake.params.sharpen,
        stop_mm=snakemake.params.stop_mm,
        symmetric=snakemake.params.get("symmetric", False),
        subject=snakemake.params.get("subject", False),
        quality=snakemake.params.quality,
    )
