"""Compile kernels, and keep what was compiled where it cannot be taken for something else."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime import rtsys

ROOM = Path(__file__).parent
DIGEST_BYTES = hashlib.sha256().digest_size


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function for this processor on first use, and keeps the result.

    Parameters
    ----------
    **options
        Further options of ``numba.njit``.
    """
    decorate = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy", **options)

    def keep(function: Callable[..., Any]) -> Any:
        # numba reads the folder when it decorates; other packages' functions are to go on where they were
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(cache_folder())
        try:
            dispatcher = decorate(function)
            dispatcher._cache = _Kept(dispatcher.py_func)
        finally:
            numba.config.CACHE_DIR = before
        return dispatcher

    return keep


class _Kept(FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function, which does not prepare numba for compiling when nothing is compiled.

    That takes half a second in every process. Machine code that was kept needs none of it; numba prepares
    itself before it compiles what was not.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # what machine code itself calls: allocation and the counting of references
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """A file for each key: the types of a function's arguments, the processor, and the function's own code.

    Numba numbers the files and keeps the numbers in an index: where two jobs start together, both may give
    the same number to code for two processors or types, and one may run the other's. So here a name follows
    from the key alone. A file that is not as it was written, as after a crash of its server, is made anew.
    """

    def save(self, key: Any, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(self._name(key))) as file:
            # what follows the end of a pickle is not read
            file.write(content + hashlib.sha256(content).digest())

    def load(self, key: Any) -> Any:
        try:
            found = Path(self._data_path(self._name(key))).read_bytes()
        except OSError:
            return None
        content, digest = found[:-DIGEST_BYTES], found[-DIGEST_BYTES:]
        return self._load_data(self._name(key)) if hashlib.sha256(content).digest() == digest else None

    def _name(self, key: Any) -> str:
        mark = hashlib.sha256(repr((self._version, self._source_stamp, key)).encode()).hexdigest()[:24]
        return f"{Path(self._index_name).stem}.{mark}.nbc"


@functools.cache
def cache_folder() -> Path:
    """Folder of the compiled kernels.

    Numba compiles a function again when its own file changes, but not when a function that it took in from
    another file does. So the folder's name is made from all files of this room, and kernels elsewhere take in
    functions from this room and their own file only. Files are renamed into place when they are complete, so
    that jobs on a shared file system may start together.

    Returns
    -------
    Path
        In ``NUMBA_CACHE_DIR`` if that is set, else beside this file, or, where that is read-only, in the
        user's cache folder, or else in a folder that lasts as long as this process.
    """
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(ROOM.glob("*.py")))).hexdigest()[:12]
    given = numba.config.CACHE_DIR
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for folder in [Path(given)] if given else [ROOM / "__pycache__", home / "regcore"]:
        if _is_writable(folder):
            return folder / f"kernels-{mark}"
    # compiled code is run as it is found: a name that others could foresee would let them plant some
    own = Path(tempfile.mkdtemp(prefix="regcore-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
