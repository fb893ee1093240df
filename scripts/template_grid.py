"""Choose the grid of the template from the headers and foregrounds of the cohort."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.template import template_grid

with job(snakemake.log[0], snakemake.threads):
    template_grid(
        paths(snakemake.input.prepared),
        output=Path(snakemake.output[0]),
        spacing_mm=snakemake.params.spacing_mm,
        symmetric=snakemake.params.get("symmetric", False),
        subject=snakemake.params.get("subject", False),
    )
