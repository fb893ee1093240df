"""Measure how the structures of a subject change from session to session."""

from pathlib import Path

from regcore.study.followup import measure_sessions
from regcore.study.job import job, paths
from regcore.study.regions import SubjectLabels
from regcore.study.sessions import Visits

with job(snakemake.log[0], snakemake.threads):
    visits = Visits.of(Path(snakemake.input.member), snakemake.params.sessions, snakemake.params.within)
    labels = SubjectLabels(atlas=paths(snakemake.input.atlas), **snakemake.params.labels)
    measure_sessions(
        visits,
        labels,
        population=Path(snakemake.input.chained) if snakemake.input.chained else None,
        output=Path(snakemake.output[0]),
        baseline=snakemake.params.baseline,
    )
