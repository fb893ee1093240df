"""How a process of one task, such as a registration, keeps its memory, and how much it took."""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import sys
from pathlib import Path

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Names of the GNU C library's settings in ``mallopt``."""
SET_HUGE_PAGES_DISABLED = 41
"""Name of Linux's setting in ``prctl``."""


def settle_memory() -> None:
    """Use freed memory again instead of giving it back and asking for more, in small pages.

    A level of a registration frees what the next one needs. Given back, every page of it is cleared once
    more, which takes up to a tenth of a registration's time. The peak stays the same.

    NumPy asks for huge pages. They are no faster here, and a virtual machine may have to ask its host for
    every one, while it has small ones at hand: that took up to half a registration's time.

    For programs of one task, not for libraries: it holds for the whole process and those it starts. It does
    nothing where the C library is not GNU's.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        library = ctypes.CDLL("libc.so.6")
        setting, control = library.mallopt, library.prctl
    except (OSError, AttributeError):
        return
    # the library takes no larger one
    setting(MMAP_THRESHOLD, 1 << 25)
    setting(TRIM_THRESHOLD, 1 << 30)
    setting(TOP_PAD, 1 << 26)
    control(SET_HUGE_PAGES_DISABLED, 1, 0, 0, 0)


def peak_memory_mb() -> float | None:
    """Largest resident memory that this process has had, MB; None where the system does not tell.

    The kernel's own mark. That of ``getrusage`` would begin with what the process had that started this one,
    and who looks twice a second misses short peaks.

    Examples
    --------
    >>> peak = peak_memory_mb()
    >>> peak is None or peak > 10
    True
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("VmHWM:")), None)
    return None if found is None else int(found.split()[1]) * 1024 / 1e6


@functools.cache
def collect_rarely() -> None:
    """Let Python look for unreachable objects rarely, and not at all when the process ends.

    The packages that a registration loads hold half a million objects for good. Python looks through them
    again and again while they are loaded, and once more at the end: together a third of a second. What is
    not part of a cycle is freed at once as ever. For programs of one task, not for libraries.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
