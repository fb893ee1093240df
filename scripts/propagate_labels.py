"""Carry labels to the sessions of a subject."""

from pathlib import Path

from regcore.study.followup import propagate_labels
from regcore.study.job import job, paths
from regcore.study.regions import SubjectLabels
from regcore.study.sessions import Visits

with job(snakemake.log[0], snakemake.threads):
    visits = Visits.of(Path(snakemake.input.member), snakemake.params.sessions, snakemake.params.within)
    labels = SubjectLabels(atlas=paths(snakemake.input.atlas), **snakemake.params.labels)
    propagate_labels(
        visits,
        labels,
        prepared=paths(snakemake.input.prepared),
        output=Path(snakemake.output[0]),
        labels_from=snakemake.params.labels_from,
    )
