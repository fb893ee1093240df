"""Publish the sessions of a subject in the space of the population."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.sessions import Visits, chain_sessions

with job(snakemake.log[0], snakemake.threads):
    visits = Visits.of(Path(snakemake.input.member), snakemake.params.sessions, snakemake.params.within)
    chain_sessions(
        visits,
        prepared=paths(snakemake.input.prepared),
        population=Path(snakemake.input.population),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        settings=snakemake.params.settings,
    )
