"""Publish what every member weighs in the template, and why; the build reads this file."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.publish import publish_qc

with job(snakemake.log[0], snakemake.threads):
    publish_qc(Path(snakemake.input.template), output=Path(snakemake.output[0]))
