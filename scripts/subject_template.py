"""Publish the template of a subject and prepare it as a member of the population."""

from pathlib import Path

from regcore.study.job import job
from regcore.study.sessions import subject_template

with job(snakemake.log[0], snakemake.threads):
    subject_template(
        snakemake.wildcards.subject,
        sessions=Path(snakemake.input.sessions),
        template=Path(snakemake.input.template),
        keys=snakemake.params.sessions,
        output=Path(snakemake.output[0]),
        within=snakemake.params.within,
        labels_from=snakemake.params.labels_from,
        names=snakemake.params.names,
    )
