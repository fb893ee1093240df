"""The application: its commands, and how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from regcore import __version__
from regcore.cli import landmarking, measuring, naming, registering, transforming
from regcore.cli.options import CommandGroup
from regcore.errors import DamagedFileError, InputError
from regcore.memory import collect_rarely

BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class _Terminated(BaseException):
    """Asked to end, as by a cluster whose time is up; ends every block on the way, as Ctrl-C does."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="Exit codes: 0 done, 2 unusable input (one line says which and why), 130 interrupted, 143 "
    "terminated.",
)
@click.version_option(__version__, message="%(prog)s %(version)s", help="Print the version and stop.")
def app() -> None:
    """Register images and work with the transforms, in millimetres of the world.

    A transform maps points of the fixed (output) space to the moving (input) space, which is what is needed
    to bring the moving image onto the fixed one. Files are ITK's, so ANTs, SimpleITK, 3D Slicer and
    nitransforms read them, and theirs are read here.

    \b
    regcore register fixed.nii.gz moving.nii.gz -t moving_to_fixed.h5
    regcore apply labels.nii.gz out.nii.gz -r fixed.nii.gz -t moving_to_fixed.h5 --labels
    regcore info out.nii.gz moving_to_fixed.h5

    Whole cohorts are the workflow's work: see the README.
    """


for command in (
    registering.register,
    registering.presets,
    transforming.apply,
    transforming.invert,
    transforming.compose,
    transforming.jacobian,
    measuring.average,
    measuring.overlap,
    measuring.info,
    naming.pseudonyms,
    landmarking.landmarks,
):
    app.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        0 done, 1 the system refused (a full disk, say), 2 bad input, 130 interrupted, 143 terminated.

    Examples
    --------
    >>> main(["--version"])
    regcore 0.1.0
    0
    """
    if arguments is not None:
        return _run(arguments)
    collect_rarely()
    signal.signal(signal.SIGTERM, _terminate)
    code = _run(sys.argv[1:])
    # nothing is left to clear away: while threads come to their end, a signal ends the process at once
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app.main(list(arguments) or ["--help"], prog_name="regcore", standalone_mode=False)
    except (InputError, DamagedFileError) as error:
        return _fail(str(error), BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; nothing half-written is left", INTERRUPTED)
    except _Terminated:
        return _fail("terminated; nothing half-written is left", TERMINATED)
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except click.ClickException as error:
        return _fail(f"{error.format_message()} (see --help)", BAD_INPUT)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"regcore: {' '.join(message.split())}", file=sys.stderr)
    return code
