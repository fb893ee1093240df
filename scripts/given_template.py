"""Put a published template in the place of the first average."""

from pathlib import Path

from regcore.study.given import given_template
from regcore.study.job import job

with job(snakemake.log[0], snakemake.threads):
    given_template(
        snakemake.params.files,
        grid_file=Path(snakemake.output.grid),
        output=Path(snakemake.output.template),
        sharpen_copy=snakemake.params.sharpen,
        symmetric=snakemake.params.symmetric,
    )
