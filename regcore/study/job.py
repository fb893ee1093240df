"""What every job of the workflow has around it: a log file, a number of threads, errors in one line."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regcore import __version__
from regcore.errors import InputError
from regcore.kernels.parallel import set_threads
from regcore.memory import keep_freed_memory

LOGGER = logging.getLogger("regcore.study")


def paths(names: str | Iterable[str]) -> list[Path]:
    """Paths of one or several names.

    Examples
    --------
    >>> [path.name for path in paths(["a/b", "c"])]
    ['b', 'c']
    """
    return [Path(name) for name in ([names] if isinstance(names, str) else names)]


@contextmanager
def job(log: str | Path, threads: int = 1) -> Iterator[None]:
    """Run a job: log lines go to a file, and an `InputError` ends it with one line instead of a traceback.

    Parameters
    ----------
    log : path
        Log file, written anew.
    threads : int
        Threads of the kernels.

    Raises
    ------
    SystemExit
        With exit code 1 after an `InputError`.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    keep_freed_memory()
    set_threads(threads)
    started = time.perf_counter()
    LOGGER.info("regcore %s, %d threads", __version__, threads)
    try:
        yield
        LOGGER.info("done in %.1f s", time.perf_counter() - started)
    except InputError as error:
        LOGGER.error("%s", error)
        sys.exit(str(error))
    except Exception:
        LOGGER.exception("unexpected error")
        raise
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
