"""Describe the results as a BIDS derivative dataset."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.outputs import describe_dataset

with job(snakemake.log[0], snakemake.threads):
    describe_dataset(Path(snakemake.output[0]), source=snakemake.params.source)
