"""Describe the results as a BIDS derivative dataset."""

from pathlib import Path

from regcore.study.dataset import describe_dataset
from regcore.study.job import job

with job(snakemake.log[0], snakemake.threads):
    describe_dataset(
        {name: Path(path) for name, path in snakemake.output.items()},
        source=snakemake.params.source,
        name=snakemake.params.layout.template,
        atlas=snakemake.params.atlas,
        settings=snakemake.params.dataset,
    )
