"""Command that says who is who: `pseudonyms`."""

from __future__ import annotations

from pathlib import Path

import click

from regcore.cli.options import PATH


@click.command()
@click.argument("source", type=PATH, help="BIDS folder or table of the cohort.")
@click.argument("secret", type=PATH, help="File with the secret, as in privacy.pseudonym_secret.")
@click.option("--suffix", default="T1w", help="Suffix of the images in a BIDS folder.")
def pseudonyms(source: Path, secret: Path, suffix: str) -> None:
    """List the pseudonym of every participant. Keep the list where you keep the secret."""
    from regcore.io.cohort import read_cohort
    from regcore.io.pseudonyms import pseudonym, read_secret

    key = read_secret(secret)
    participants = dict.fromkeys(member.participant for member in read_cohort(source, suffix))
    click.echo("participant_id\tpseudonym")
    for participant in participants:
        click.echo(f"sub-{participant}\tsub-{pseudonym(key, participant)}")
