"""Compile every kernel once, before many jobs start."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.warm import warm_cache

with job(snakemake.log[0], snakemake.threads):
    warm_cache(Path(snakemake.output[0]))
