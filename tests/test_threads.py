"""Several workflows on one machine: each stays within the processors that it was given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")

ROOT = Path(__file__).parents[1]
RULE = """
rule busy:
    output: "threads.txt"
    log: "busy.log"
    threads: 4
    script: "busy.py"
"""
# what brings threads of its own: kernels and linear algebra
SCRIPT = """
from pathlib import Path
import numpy as np
from regcore.kernels.smooth import gaussian_smooth
from regcore.study.job import job

with job(snakemake.log[0], snakemake.threads):
    gaussian_smooth(np.ones((80, 80, 80), np.float32), 1.0)
    np.ones((600, 600)) @ np.ones((600, 600))
    status = Path("/proc/self/status").read_text()
    count = next(line.split()[1] for line in status.splitlines() if line.startswith("Threads:"))
Path(snakemake.output[0]).write_text(count)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts threads as Linux does")
@pytest.mark.parametrize("cores", [1, 2])
def test_a_job_has_no_more_threads_than_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REGCORE_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "Snakefile").write_text(RULE)
    (tmp_path / "busy.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "snakemake", "--directory", str(tmp_path), "--cores", str(cores)]
    done = subprocess.run(
        [*command, "--snakefile", str(tmp_path / "Snakefile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # kernels and linear algebra take turns, so a second pool adds no load
    assert int((tmp_path / "threads.txt").read_text()) <= (1 if cores == 1 else 2 * cores - 1)
