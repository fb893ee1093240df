"""Writing that never leaves half a file behind, whatever kills the process."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_unfinished: set[Path] = set()


def discard_unfinished() -> None:
    """Remove the temporary files that this process is writing: it is about to end."""
    for temporary in list(_unfinished):
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

    The folder of `path` is made if it is missing. On an error the temporary file is removed and `path` stays
    as it was. What a killed process has left of the same file is removed, too.

    Parameters
    ----------
    path : path
        Where the finished file shall be.

    Yields
    ------
    Path
        A name in the same folder, with the same extension, to write to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "numbers.txt") as temporary:
    ...         _ = temporary.write_text("1 2 3")
    ...     (Path(folder) / "numbers.txt").read_text()
    '1 2 3'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The real name comes last so that writers which look at the extension choose the right format. It is cut
    # to leave room within the 255 bytes that a file name may have.
    name = target.name[-200:]
    for stale in target.parent.glob(f".{'[0-9a-f]' * 12}.{glob.escape(name)}"):
        stale.unlink(missing_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(6)}.{name}")
    _unfinished.add(temporary)
    try:
        yield temporary
        try:
            temporary.replace(target)
        except FileNotFoundError:
            # a job that was given up, but lives on, meets the one that was started in its place: that one has
            # removed this file and writes the same
            if not target.exists():
                raise
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)
