"""Measure how the structures of a subject change from session to session."""

from pathlib import Path

from regcore.study.followup import measure_sessions
from regcore.study.job import job, paths
from regcore.study.sessions import Visits

with job(snakemake.log[0], snakemake.threads):
    visits = Visits.of(
        snakemake.wildcards.subject,
        prepared=Path(snakemake.input.member),
        keys=snakemake.params.sessions,
        within=snakemake.params.within,
    )
    measure_sessions(
        visits,
        population=Path(snakemake.input.chained) if snakemake.input.chained else None,
        atlas=paths(snakemake.input.atlas),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        labels=snakemake.params.labels,
        names=snakemake.params.names,
        atlas_name=snakemake.params.atlas_name,
        baseline=snakemake.params.baseline,
    )
