"""Add up a map of the sessions of a subject."""

from pathlib import Path

from regcore.study.accumulated import accumulate_maps
from regcore.study.job import job, paths
from regcore.study.regions import SubjectLabels
from regcore.study.sessions import Visits

with job(snakemake.log[0], snakemake.threads):
    visits = Visits.of(Path(snakemake.input.member), snakemake.params.sessions, snakemake.params.within)
    labels = SubjectLabels(atlas=paths(snakemake.input.atlas), **snakemake.params.labels)
    accumulate_maps(
        visits,
        labels,
        maps=snakemake.params.maps,
        output=Path(snakemake.output[0]),
        settings=snakemake.params.settings,
    )
