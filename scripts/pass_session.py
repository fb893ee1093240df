"""Take the only session of a subject as it is."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.sessions import pass_session

with job(snakemake.log[0], snakemake.threads):
    pass_session(
        snakemake.wildcards.subject,
        prepared=paths(snakemake.input.prepared)[0],
        output=Path(snakemake.output[0]),
        within=snakemake.params.within,
    )
