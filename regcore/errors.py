"""The exceptions that a user is meant to read."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST_MESSAGE = 2000


def printable(text: str) -> str:
    r"""One line that a terminal shows as it is: whatever would steer the terminal is spelt out.

    Examples
    --------
    >>> print(printable("a\nb\x1b[31m"))
    a\nb\x1b[31m
    """
    half = LONGEST_MESSAGE // 2
    shown = text if len(text) <= LONGEST_MESSAGE else f"{text[:half]}...{text[-half:]}"
    # control characters, marks that turn the direction of writing, bytes that were no UTF-8...
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in shown
    )


def reason(error: BaseException) -> str:
    r"""Last line of what an exception says, or its name if it says nothing.

    Examples
    --------
    >>> reason(ValueError("first\nlast")), reason(MemoryError())
    ('last', 'MemoryError')
    """
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def unnamed(error: BaseException, file: str | os.PathLike[str]) -> str:
    """What an error says about a participant's file, without its name: that may tell who the participant is.

    Examples
    --------
    >>> unnamed(InputError("Jane.nii: expected an image, found a table"), "Jane.nii")
    'expected an image, found a table'
    """
    return str(error).removeprefix(f"{printable(str(Path(file)))}: ")


class InputError(ValueError):
    """Input that cannot be used: one line naming the file or key, what was expected and what was found."""

    def __init__(self, message: str) -> None:
        """Keep the message to one printable line, whatever names and values went into it."""
        super().__init__(printable(message))


class DamagedFileError(Exception):
    """A file of ours that is not as it was written.

    Not an `InputError`, because no image is to blame and none may be set aside for it: what wrote the file
    can write it again.

    Parameters
    ----------
    path : path
        The damaged file.
    """

    def __init__(self, path: object) -> None:
        """Say in one line what is damaged."""
        self.path = str(path)
        super().__init__(printable(f"{path}: expected the bytes that were written, found others (damaged)"))
