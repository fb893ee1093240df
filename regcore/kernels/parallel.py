"""Run a compiled kernel over fixed blocks of planes on several threads.

Blocks depend on the array alone, never on the number of threads, so that every result has the same bits
whatever the number of threads. Kernels release the interpreter lock and take ``(start, stop, *arrays)``.
"""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from regcore.kernels.compiled import compiled

BLOCK_PLANES = 8
BLOCK_VOXELS = 1 << 15
"""Size of the blocks of kernels that go through all voxels in one row."""
SMALL = 1 << 18
"""Arrays of fewer values are one block: handing blocks to other threads would take longer than the work."""

kernel = compiled()
"""Decorator of block kernels: ``kernel(start, stop, ...)`` works on planes ``start`` to ``stop``."""

inline = compiled(inline="always")
"""Decorator of the per-voxel arithmetic that kernels share."""

_threads = 0
_pool: ThreadPoolExecutor | None = None


def available_threads() -> int:
    """Processors this process may use, or ``REGCORE_NUM_THREADS`` where that is set."""
    setting = os.environ.get("REGCORE_NUM_THREADS", "")
    if setting.isdigit() and int(setting) > 0:
        return int(setting)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(count: int) -> None:
    """Set how many threads kernels run on from now on; 0 means every processor available."""
    global _threads, _pool
    wanted = count if count > 0 else available_threads()
    if wanted != _threads and _pool is not None:
        _pool.shutdown()
        _pool = None
    _threads = wanted


def _is_small(arrays: tuple[Any, ...]) -> bool:
    """Whether the largest array is; lists of points say nothing of the work on them."""
    sizes = [a.size for a in arrays if isinstance(a, np.ndarray) and a.ndim > 2]
    return max(sizes, default=SMALL) < SMALL


def even_blocks(size: int, planes: int) -> int:
    """Planes of a block, at most so many, where an even number of blocks as alike as can be makes up `size`.

    Examples
    --------
    >>> even_blocks(160, 24), even_blocks(80, 40), even_blocks(5, 24)
    (20, 40, 3)
    """
    return -(-size // (2 * -(-size // (2 * planes))))


def run_blocks(function: Callable[..., Any], size: int, *arrays: Any, block: int = BLOCK_PLANES) -> list[Any]:
    """Call ``function(start, stop, *arrays)`` on every block of ``range(size)``; results in block order.

    Examples
    --------
    >>> run_blocks(lambda start, stop: stop - start, 20, block=8)
    [8, 8, 4]
    """
    global _pool
    if _threads == 0:
        set_threads(0)
    starts = range(0, size, block)
    if _is_small(arrays):
        return [function(0, size, *arrays)]
    if _threads == 1 or len(starts) == 1:
        return [function(start, min(start + block, size), *arrays) for start in starts]
    if _pool is None:
        _pool = ThreadPoolExecutor(max_workers=_threads - 1)
    results: list[Any] = [None] * len(starts)
    counter = itertools.count()

    def work() -> None:
        while (index := next(counter)) < len(starts):
            start = starts[index]
            results[index] = function(start, min(start + block, size), *arrays)

    others = [_pool.submit(work) for _ in range(min(_threads, len(starts)) - 1)]
    work()
    for future in others:
        future.result()
    return results
