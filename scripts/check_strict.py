"""Fail if an image was set aside."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.quarantine import check_strict

with job(snakemake.log[0], snakemake.threads):
    check_strict(Path(snakemake.input.quarantine), output=Path(snakemake.output[0]))
