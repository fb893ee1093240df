"""What every job of the workflow has around it: a log file, a number of threads, errors in one line."""

from __future__ import annotations

import errno
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regcore import __version__
from regcore.errors import DamagedFileError, InputError
from regcore.kernels.parallel import set_threads
from regcore.memory import collect_rarely, peak_memory_mb, settle_memory
from regcore.study.integrity import move_aside

# what the system may refuse: full disk, full quota, read-only, not permitted, name too long
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EIO)
LOGGER = logging.getLogger("regcore.study")
USED = "used %.1f s of processors, %.0f MB of memory"
_USED = re.compile(r"used ([\d.]+) s of processors, (\d+) MB of memory$")


def paths(names: str | Iterable[str]) -> list[Path]:
    """Paths of one or several names.

    Examples
    --------
    >>> [path.name for path in paths(["a/b", "c"])]
    ['b', 'c']
    """
    return [Path(name) for name in ([names] if isinstance(names, str) else names)]


def used(log: Path) -> tuple[float, float] | None:
    """Processor time (s) and largest memory (MB) of a job that went through, from its log.

    Children that a job starts do not count. None where the log says nothing.
    """
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    found = _USED.search(lines[-1]) if lines else None
    return None if found is None else (float(found.group(1)), float(found.group(2)))


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
        With exit code 1 after an `InputError`, or a `DamagedFileError`, whose folder is moved aside.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    settle_memory()
    collect_rarely()
    set_threads(threads)
    started = time.perf_counter()
    LOGGER.info("regcore %s, %d threads", __version__, threads)
    try:
        yield
        LOGGER.info("done in %.1f s", time.perf_counter() - started)
        LOGGER.info(USED, time.process_time(), peak_memory_mb() or 0)
    except InputError as error:
        LOGGER.error("%s", error)
        sys.exit(str(error))
    except DamagedFileError as error:
        work = next((parent.parent for parent in Path(log).parents if parent.name == "logs"), None)
        moved = [] if work is None else move_aside(Path(error.path), work)
        advice = "start again to have it made anew" if moved else "delete it and start again"
        LOGGER.error("%s; %s", error, advice)
        sys.exit(f"{error}; {advice}")
    except OSError as error:
        if error.errno not in REFUSED:
            LOGGER.exception("unexpected error")
            raise
        LOGGER.error("%s: %s", error.filename or "results", error.strerror)
        sys.exit(f"{error.filename or 'results'}: {error.strerror}; mend this and start again")
    except Exception:
        LOGGER.exception("unexpected error")
        raise
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
