"""What the status command of the profiles makes of the answers of each kind of cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

PROFILES = Path(__file__).parents[1] / "profiles"
PBS = (
    'case "$*" in "-x -f 7") printf "Job Id: 7.server\\n    job_state = {state}\\n{exit}";; *) exit 1;; esac'
)
EXIT = "    Exit_status = {}\\n"
SGE = 'printf "==========\\nqname        all.q\\nfailed       {failed}\\nexit_status  {status}     \\n"'
CASES = {
    "PBS waits": ({"qstat": PBS.format(state="Q", exit="")}, "running"),
    "PBS runs": ({"qstat": PBS.format(state="R", exit="")}, "running"),
    "PBS done": ({"qstat": PBS.format(state="F", exit=EXIT.format(0))}, "success"),
    "Torque done": ({"qstat": PBS.format(state="C", exit="    exit_status = 0\\n")}, "success"),
    "PBS failed": ({"qstat": PBS.format(state="F", exit=EXIT.format(1))}, "failed"),
    "PBS out of time": ({"qstat": PBS.format(state="F", exit=EXIT.format(-29))}, "failed"),
    "PBS deleted": ({"qstat": PBS.format(state="F", exit="")}, "failed"),
    "SGE runs": ({"qstat": '[ "$*" = "-j 7" ]'}, "running"),
    "SGE done": ({"qstat": "exit 1", "qacct": SGE.format(failed="0", status=0)}, "success"),
    "SGE failed": ({"qstat": "exit 1", "qacct": SGE.format(failed="0", status=1)}, "failed"),
    "SGE killed": (
        {"qstat": "exit 1", "qacct": SGE.format(failed="100 : assumedly after job", status=137)},
        "failed",
    ),
    "SLURM waits": ({"scontrol": 'echo "JobId=7 JobState=PENDING Reason=None"'}, "running"),
    "SLURM ends": ({"scontrol": 'echo "JobId=7 JobState=COMPLETING Reason=None"'}, "running"),
    "SLURM done": ({"scontrol": 'echo "JobId=7 JobState=COMPLETED Reason=None"'}, "success"),
    "SLURM out of time": ({"scontrol": 'echo "JobId=7 JobState=TIMEOUT Reason=TimeLimit"'}, "failed"),
    "unknown": ({"sleep": "exit 0"}, "failed"),
}


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
@pytest.mark.parametrize("case", CASES)
def test_state_of_a_job(tmp_path: Path, case: str) -> None:
    programs, expected = CASES[case]
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "grep").symlink_to("/usr/bin/grep" if Path("/usr/bin/grep").exists() else "/bin/grep")
    done = subprocess.run(
        ["/bin/sh", str(PROFILES / "state.sh"), "7"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{expected}\n", done.stderr


def test_profiles_agree_on_what_has_nothing_to_do_with_the_scheduler() -> None:
    read = {
        name: yaml.safe_load((PROFILES / name / "config.yaml").read_text())
        for name in ("slurm", "pbs", "sge")
    }
    for profile in read.values():
        for name in [name for name in profile if name.startswith(("slurm-", "cluster-generic-", "executor"))]:
            del profile[name]
    assert read["pbs"] == read["slurm"]
    assert read["sge"] == read["slurm"]
