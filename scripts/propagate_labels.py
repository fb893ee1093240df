"""Carry labels to the sessions of a subject."""

from pathlib import Path

from regcore.study.followup import propagate_labels
from regcore.study.job import job, paths
from regcore.study.sessions import Visits

with job(snakemake.log[0], snakemake.threads):
    visits = Visits.of(
        snakemake.wildcards.subject,
        prepared=Path(snakemake.input.member),
        keys=snakemake.params.sessions,
        within=snakemake.params.within,
    )
    propagate_labels(
        visits,
        prepared=paths(snakemake.input.prepared),
        atlas=paths(snakemake.input.atlas),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        labels=snakemake.params.labels,
        names=snakemake.params.names,
        labels_from=snakemake.params.labels_from,
        atlas_name=snakemake.params.atlas_name,
    )
