"""The application: its commands, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from regcore.cli import landmarking, measuring, naming, registering, transforming
from regcore.errors import DamagedFileError, InputError
from regcore.memory import collect_rarely

BAD_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    name="regcore",
    add_completion=False,
    pretty_exceptions_enable=False,
    # plain help: drawing it with rich takes three times as long as all of the rest
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Register images and work with the transforms, in millimetres of the world.\n\n"
        "A transform maps points of the fixed (output) space to the moving (input) "
        "space, which is what is needed to bring the moving image onto the fixed one. Files are ITK's, so "
        "ANTs, SimpleITK, 3D Slicer and nitransforms read them, and theirs are read here.\n\n"
        "\b\n"
        "regcore register fixed.nii.gz moving.nii.gz -t moving_to_fixed.h5\n"
        "regcore apply labels.nii.gz out.nii.gz -r fixed.nii.gz -t moving_to_fixed.h5 --labels\n"
        "regcore info out.nii.gz moving_to_fixed.h5\n\n"
        "Whole cohorts are the workflow's work: see the README."
    ),
    epilog="Exit codes: 0 done, 2 unusable input (one line says which and why), 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from regcore import __version__

        typer.echo(f"regcore {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


app.command(cls=registering.RegisterCommand)(registering.register)
for command in (
    registering.presets,
    transforming.apply,
    transforming.invert,
    transforming.compose,
    transforming.jacobian,
    measuring.average,
    measuring.overlap,
    measuring.info,
    naming.pseudonyms,
):
    app.command()(command)
app.add_typer(landmarking.app, name="landmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process by default.

    Returns
    -------
    int
        0 done, 1 the system refused (a full disk, say), 2 bad input, 130 interrupted.

    Examples
    --------
    >>> main(["--version"])
    regcore 0.1.0
    0
    """
    if arguments is None:
        collect_rarely()
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = app(args=given, prog_name="regcore", standalone_mode=False)
    except (InputError, DamagedFileError) as error:
        return _fail(str(error), BAD_INPUT)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted; nothing half-written is left", INTERRUPTED)
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except Exception as error:
        # the parser's own complaints; Typer ships them under a name of its own
        if not hasattr(error, "format_message"):
            raise
        return _fail(f"{error.format_message()} (see --help)", BAD_INPUT)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"regcore: {' '.join(message.split())}", file=sys.stderr)
    return code
