"""Lay the results out for Snakemake to bring them to an object store."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.publish import upload_results

with job(snakemake.log[0], snakemake.threads):
    upload_results(snakemake.params.layout, output=Path(snakemake.output[0]))
