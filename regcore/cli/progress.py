"""Progress of a registration: a moving bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regcore.registration.linear import IterationRow

LINES_EVERY = 20


@contextmanager
def iteration_progress(quiet: bool) -> Iterator[Callable[[IterationRow], None] | None]:
    """Callback that shows each iteration on standard error; None where nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _on_terminal() as show:
            yield show
    else:
        yield _in_log()


@contextmanager
def _on_terminal() -> Iterator[Callable[[IterationRow], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading")

        def show(row: IterationRow) -> None:
            where = f"{row.stage:<10} level {row.level}  iteration {row.iteration:3d}"
            progress.update(task, description=f"{where}  {_energy(row)}")

        yield show


def _energy(row: IterationRow) -> str:
    """The energy, and its parts where there is a regulariser."""
    total = f"energy {row.energy:.5f}"
    if row.regularisation_weight == 0:
        return total
    return f"{total} = {row.data_term:.5f} + {row.regularisation_weight:.4g} * {row.regulariser_term:.5f}"


def _in_log() -> Callable[[IterationRow], None]:
    level: tuple[str, int] | None = None

    def show(row: IterationRow) -> None:
        nonlocal level
        if (row.stage, row.level) != level or row.iteration % LINES_EVERY == 0:
            level = (row.stage, row.level)
            print(
                f"{row.stage} level {row.level} iteration {row.iteration} {_energy(row)}",
                file=sys.stderr,
                flush=True,
            )

    return show
