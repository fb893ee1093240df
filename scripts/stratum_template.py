"""Average the members of a stratum into its template."""

from pathlib import Path

from regcore.study.job import job, paths
from regcore.study.strata import stratum_template

with job(snakemake.log[0], snakemake.threads):
    files = {name: Path(path) for name, path in snakemake.output.items()}
    stratum_template(
        snakemake.params.stratum,
        prepared=paths(snakemake.input.prepared),
        population=paths(snakemake.input.population),
        output=files.pop("folder"),
        files=files,
        layout=snakemake.params.layout,
        symmetric=snakemake.params.symmetric,
    )
