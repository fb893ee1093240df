"""Options that several commands share, and the checks that come before any work."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from regcore.errors import InputError

if TYPE_CHECKING:
    from regcore.transforms import Transform

IMAGE_NAMES = (".nii", ".nii.gz")
FIELD_NAMES = (".h5", ".hdf5")
AFFINE_NAMES = (".txt", ".tfm")
TABLE_NAMES = (".tsv", ".csv")
LANDMARK_NAMES = (*TABLE_NAMES, ".mrk.json")
POINT_NAMES = (*LANDMARK_NAMES, ".fcsv", ".pts", ".txt")


class Frame(StrEnum):
    """Which way the axes of a table of points run."""

    ras = "ras"
    lps = "lps"


PATH = click.Path(path_type=Path)

threads_option = click.option(
    "--threads",
    "-j",
    type=click.IntRange(min=0),
    default=0,
    help="Threads to use; 0 takes all there are. The result is the same.",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
frame_option = click.option(
    "--frame",
    type=click.Choice(Frame),
    default=Frame.ras,
    help="Axes of tables of points: RAS+ (NIfTI) or LPS+ (ITK), millimetres.",
)
transforms_option = click.option(
    "--transform",
    "-t",
    "transforms",
    type=PATH,
    multiple=True,
    required=True,
    help="Transform from the reference to the input; of several, the last comes first, as in ANTs.",
)


class CommandGroup(click.Group):
    """Commands that the help lists in the order in which they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(self.commands)


def check_output(path: Path, names: tuple[str, ...], inputs: Iterable[Path | None] = ()) -> None:
    """Refuse an output whose name ends wrongly, or which is one of the inputs.

    Examples
    --------
    >>> check_output(Path("warped.png"), IMAGE_NAMES)
    Traceback (most recent call last):
        ...
    regcore.errors.InputError: warped.png: expected a name ending in .nii or .nii.gz, found '.png'
    """
    if not path.name.lower().endswith(names):
        wanted = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
        raise InputError(f"{path}: expected a name ending in {wanted}, found {path.suffix!r}")
    if path.is_dir():
        raise InputError(f"{path}: expected a file to write, found a folder")
    for given in inputs:
        if given is not None and given.exists() and path.exists() and given.samefile(path):
            raise InputError(f"{path}: expected an output apart from the inputs, found the same file")


def use_threads(count: int) -> None:
    """Prepare a process that computes: its threads and its memory."""
    from regcore.kernels.parallel import set_threads
    from regcore.memory import settle_memory

    settle_memory()
    set_threads(count)


def read_chain(paths: Iterable[Path], inverted: bool = False) -> Transform:
    """Transforms of some files as one: ``[a, b]`` is ``a(b(x))``."""
    from regcore.io.itk import read_transform
    from regcore.transforms import Chain

    chain = Chain([read_transform(path) for path in paths])
    return chain.inverse() if inverted else chain
