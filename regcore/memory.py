"""How a process that registers keeps its memory."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Names of the GNU C library's settings in ``mallopt``."""


def keep_freed_memory() -> None:
    """Use freed memory again instead of giving it back to the system and asking for more.

    A level of a registration frees what the next one needs. Given back, every page of it is cleared once
    more, which takes up to a tenth of a registration's time. The peak stays the same. For programs of one
    task, not for libraries: it holds for the whole process. It does nothing where the C library is not GNU's.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        setting = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    # the library takes no larger one
    setting(MMAP_THRESHOLD, 1 << 25)
    setting(TRIM_THRESHOLD, 1 << 30)
    setting(TOP_PAD, 1 << 26)
