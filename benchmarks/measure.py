"""Wall time, processor time and peak memory of a whole process.

A process's peak memory starts at that of the process that started it, so a small one stands in between: this
file, run by itself with the standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Parameters
    ----------
    wall_s, cpu_s : float
        Seconds; the processor time is that of the process and its children, user and system.
    memory_mib : float
        Largest resident memory of the process or any child, MiB.
    """

    wall_s: float
    cpu_s: float
    memory_mib: float


def measure(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Run a command to its end.

    Parameters
    ----------
    command : sequence of str
    environment : mapping of str to str
        Set beside the variables of this process.
    log : Path
        Where its output goes.

    Returns
    -------
    Cost

    Raises
    ------
    RuntimeError
        If it fails; the message holds the end of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    figures = log.with_suffix(".cost.json")
    with log.open("wb") as stream:
        code = subprocess.run(  # noqa: S603 - our own interpreter and module, no shell
            [sys.executable, "-S", "-I", __file__, str(figures), *command],
            env={**os.environ, **environment},
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code != 0:
        tail = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise RuntimeError(f"exit code {code}: {' | '.join(tail)}")
    return Cost(**json.loads(figures.read_text()))


def _launch(figures: str, command: Sequence[str]) -> int:
    start = time.perf_counter()
    process = os.posix_spawnp(command[0], list(command), os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - start
    # Linux counts KiB, macOS bytes
    unit = 2**20 if sys.platform == "darwin" else 2**10
    cost = {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "memory_mib": usage.ru_maxrss / unit}
    Path(figures).write_text(json.dumps(cost))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1], sys.argv[2:]))
