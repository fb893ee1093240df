"""How a process of one task, such as a registration, keeps its memory."""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
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


@functools.cache
def collect_rarely() -> None:
    """Let Python look for unreachable objects rarely, and not at all when the process ends.

    The packages that a registration loads hold half a million objects for good. Python looks through them
    again and again while they are loaded, and once more at the end: together a third of a second. What is
    not part of a cycle is freed at once as ever. For programs of one task, not for libraries.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
