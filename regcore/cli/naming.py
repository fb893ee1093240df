"""Command that says who is who: `pseudonyms`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pseudonyms(
    source: Annotated[Path, typer.Argument(help="BIDS folder or table of the cohort.")],
    secret: Annotated[Path, typer.Argument(help="File with the secret, as in privacy.pseudonym_secret.")],
    suffix: Annotated[str, typer.Option(help="Suffix of the images in a BIDS folder.")] = "T1w",
) -> None:
    """List the pseudonym of every participant. Keep the list where you keep the secret."""
    from regcore.io.cohort import read_cohort
    from regcore.io.pseudonyms import pseudonym, read_secret

    key = read_secret(secret)
    participants = dict.fromkeys(member.participant for member in read_cohort(source, suffix))
    typer.echo("participant_id\tpseudonym")
    for participant in participants:
        typer.echo(f"sub-{participant}\tsub-{pseudonym(key, participant)}")
