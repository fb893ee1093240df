"""Add up a map of the sessions of a subject."""

from pathlib import Path

from regcore.study.accumulated import accumulate_maps
from regcore.study.job import job, paths
from regcore.study.sessions import Visits

with job(snakemake.log[0], snakemake.threads):
    visits = Visits.of(
        snakemake.wildcards.subject,
        prepared=Path(snakemake.input.member),
        keys=snakemake.params.sessions,
        within=snakemake.params.within,
    )
    accumulate_maps(
        visits,
        maps=snakemake.params.maps,
        atlas=paths(snakemake.input.atlas),
        output=Path(snakemake.output[0]),
        layout=snakemake.params.layout,
        labels=snakemake.params.labels,
        names=snakemake.params.names,
        atlas_name=snakemake.params.atlas_name,
        settings=snakemake.params.settings,
    )
