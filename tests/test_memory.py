"""How a process of one task keeps its memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")
PROGRAM = """
import sys
import numpy as np
from regcore.memory import settle_memory

def status():
    lines = open("/proc/self/status").read().splitlines()
    return dict(line.split(":", 1) for line in lines)

if sys.argv[1] == "settled":
    settle_memory()
arrays = [np.ones(4 << 20, np.float32) for _ in range(8)]
held = int(status()["VmRSS"].split()[0])
del arrays
print(status()["THP_enabled"].strip(), held - int(status()["VmRSS"].split()[0]))
"""


@pytest.mark.skipif(
    not STATUS.exists() or "THP_enabled" not in STATUS.read_text(), reason="the system does not tell"
)
def test_a_settled_process_takes_small_pages_and_keeps_what_is_freed() -> None:
    def run(how: str) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        )
        huge, given_back_kib = done.stdout.split()
        return int(huge), int(given_back_kib)

    # eight arrays of 16 MiB
    huge, given_back = run("settled")
    assert huge == 0
    assert given_back < 16 << 10
    assert run("as it is")[1] > 100 << 10
