"""Put the benchmark files of all jobs into one table."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.tables import collect_runtime

with job(snakemake.log[0], snakemake.threads):
    collect_runtime(
        snakemake.params.layout.work,
        output=Path(snakemake.output[0]),
        expected=snakemake.params.expected,
    )
