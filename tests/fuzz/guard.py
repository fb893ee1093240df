"""What must hold for every case, whatever the file says: watched from outside the reader."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regcore.errors import DamagedFileError, InputError
from regcore.io.limits import LARGEST_IMAGE_VARIABLE, largest_image_bytes

# the limit of the fuzzer; a case may take four times as much: what is stored, its values as float64, a copy
LIMIT_GB = 1 / 64
MEMORY_FACTOR = 4
OVERHEAD_BYTES = 96 * 2**20
# of our own work; a child process has limits of its own, and a busy machine makes everybody wait
SECONDS = 30
SECONDS_WITH_CHILD = 900
BACKSTOP_BYTES = 6 * 2**30
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pickle.find_class",
    "ctypes.dlopen",
    "code.__new__",
)
NETWORK = ("socket.", "ftplib.", "http.", "urllib.", "smtplib.")
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
    "shutil.rmtree",
)


class ViolationError(AssertionError):
    """A case that did what no case may do."""


class Guard:
    """Watches a scratch folder, the memory, the clock and what the interpreter is asked to do.

    Parameters
    ----------
    folder : Path
        Scratch folder; the working folder while cases run.
    limits : bool
        Whether this process gets limits of memory and time; a fuzzer with its own does without.
    """

    def __init__(self, folder: Path, *, limits: bool = True) -> None:
        self.folder = folder
        self.watching = False
        self.offences: list[str] = []
        self.counts = {"cases": 0, "read": 0, "refused": 0}
        self.most_bytes = 0
        os.environ[LARGEST_IMAGE_VARIABLE] = repr(LIMIT_GB)
        os.chdir(folder)
        self.limits = limits
        if limits:
            resource.setrlimit(resource.RLIMIT_AS, (BACKSTOP_BYTES, BACKSTOP_BYTES))
            signal.signal(signal.SIGALRM, self._late)
            signal.signal(signal.SIGPROF, self._late)
        # a warning on the terminal is no message that a user can act on
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        sys.addaudithook(self._audit)

    def case(self, content: bytes, name: str, read: Callable[[Path], object]) -> None:
        """Write one case, read it, and judge what happened.

        Raises
        ------
        ViolationError
            If anything came out but a value or one line of `InputError`.
        """
        path = self.folder / name
        path.write_bytes(content)
        before = sorted(entry.name for entry in self.folder.iterdir())
        self.counts["cases"] += 1
        with self._watched():
            try:
                read(path)
                self.counts["read"] += 1
            except (InputError, DamagedFileError) as error:
                self.counts["refused"] += 1
                message = str(error)
                if not message.isprintable() or len(message) < 10:
                    raise ViolationError(f"a message of more than one line: {message!r}") from error
        if self.offences:
            raise ViolationError(f"it did what it may not: {self.offences[:3]}")
        after = sorted(entry.name for entry in self.folder.iterdir())
        if after != before:
            raise ViolationError(f"it made or removed files: {set(after) ^ set(before)}")

    @contextmanager
    def _watched(self) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")
        start = resident("VmRSS")
        self.offences.clear()
        self.watching = True
        if self.limits:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(SECONDS_WITH_CHILD)
        try:
            yield
        finally:
            if self.limits:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.alarm(0)
            self.watching = False
        taken = resident("VmHWM") - start
        self.most_bytes = max(self.most_bytes, taken)
        if taken > MEMORY_FACTOR * largest_image_bytes() + OVERHEAD_BYTES:
            raise ViolationError(f"it took {taken / 2**20:.0f} MiB of memory")

    def _late(self, *_: object) -> None:
        raise ViolationError(f"it took more than {SECONDS} s")

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.watching:
            return
        started = event == "subprocess.Popen" and "foreign.py" not in repr(arguments)
        if started or event in FORBIDDEN or event.startswith(NETWORK):
            self.offences.append(f"{event} {arguments!r:.200}")
        elif event == "open":
            path, mode, flags = (*arguments, None, 0)[:3]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and not self._harmless(path):
                self.offences.append(f"{event} {path!r} {mode!r}")
        elif event in CHANGES and not self._harmless(arguments[0]):
            self.offences.append(f"{event} {arguments!r:.200}")

    def _harmless(self, path: object) -> bool:
        """Whether a path lies in the scratch folder, or is a temporary file or one of Python's caches."""
        text = os.fspath(path) if isinstance(path, str | Path) else ""
        inside = text.startswith((str(self.folder), tempfile.gettempdir(), os.devnull)) and ".." not in text
        return isinstance(path, int) or inside or "__pycache__" in text


def resident(what: str) -> int:
    """Bytes of this process in memory now (``VmRSS``) or at most since the mark was cleared (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    return 0
