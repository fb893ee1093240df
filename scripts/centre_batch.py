"""Place the images of a batch on the template's grid by their centres of mass."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.template import centre_batch

with job(snakemake.log[0], snakemake.threads):
    centre_batch(
        paths(snakemake.input.prepared),
        grid_file=Path(snakemake.input.grid),
        output=Path(snakemake.output[0]),
        subject=snakemake.params.get("subject", False),
        overrides=snakemake.params.overrides,
    )
