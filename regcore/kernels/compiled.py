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
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

ROOM = Path(__file__).parent


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

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # what machine code itself calls: allocation and the counting of references
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


@functools.cache
def cache_folder() -> Path:
    """Folder of the compiled kernels.

    Numba compiles a function again when its own file changes, but not when a function that it took in from
    another file does. So the folder's name is made from all files of this room, and kernels elsewhere take in
    functions from this room and their own file only. Numba itself keeps processors apart and renames complete
    files into place, so that jobs on a shared file system may start together.

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
