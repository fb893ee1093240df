"""Writing that never leaves half a file behind, whatever kills the process."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

    The folder of `path` is made if it is missing. On an error the temporary file is removed and `path` stays
    as it was.

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
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name[-200:]}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
