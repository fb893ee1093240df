"""Run a command beside a simulated SLURM cluster: ``python -m tests.cluster sinfo``."""

from __future__ import annotations

import subprocess
import sys

from tests.cluster import cluster, missing

if reason := missing():
    sys.exit(reason)
if len(sys.argv) < 2:
    sys.exit("expected a command to run beside the cluster, such as bash, found none")
with cluster() as started:
    done = subprocess.run(sys.argv[1:], env=started.environment, check=False)
sys.exit(done.returncode)
