"""The application: its commands, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from regcore import __version__
from regcore.cli import landmarking, measuring, naming, registering, transforming
from regcore.cli.options import CommandGroup
from regcore.errors import DamagedFileError, InputError
from regcore.io.atomic import discard_unfinished
from regcore.memory import collect_rarely

BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT
ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
SHOW_CURSOR = "\x1b[?25h\n"


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="Exit codes: 0 done, 1 the system refused (a full disk, say), 2 unusable input (one line says "
    "which and why), 130 interrupted, 143 terminated.",
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
    if arguments is None:
        collect_rarely()
        for number in ENDINGS:
            # whoever starts us with a signal ignored, as nohup does, means it
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _end)
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = app.main(given, prog_name="regcore", standalone_mode=False)
    except (InputError, DamagedFileError) as error:
        return _fail(str(error), BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; nothing half-written is left", INTERRUPTED)
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except click.ClickException as error:
        return _fail(f"{error.format_message()} (see --help)", BAD_INPUT)
    return code if isinstance(code, int) else 0


def _end(number: int, frame: FrameType | None) -> None:
    """End here and now: of an exception, a library that calls back in its midst makes another, or nothing."""
    discard_unfinished()
    start = SHOW_CURSOR if os.isatty(sys.stderr.fileno()) else ""
    line = f"{start}regcore: {ENDINGS[signal.Signals(number)]}; nothing half-written is left\n"
    # whatever prints at this moment must not be entered again
    os.write(sys.stderr.fileno(), line.encode())
    os._exit(128 + number)


def _fail(message: str, code: int) -> int:
    print(f"regcore: {' '.join(message.split())}", file=sys.stderr)
    return code
