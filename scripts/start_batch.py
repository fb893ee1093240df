"""Place the images of a batch on a given template, by known transforms or by their centres of mass."""

from pathlib import Path

from regcore.study.given import start_batch
from regcore.study.job import job, paths

with job(snakemake.log[0], snakemake.threads):
    start_batch(
        paths(snakemake.input.prepared),
        template=Path(snakemake.input.template),
        grid_file=Path(snakemake.input.grid),
        output=Path(snakemake.output[0]),
        known={key: Path(path) for key, path in snakemake.params.known.items()},
        held=snakemake.params.held,
        overrides=snakemake.params.overrides,
    )
