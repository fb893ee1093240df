"""A real SLURM cluster on one machine: several nodes on loopback, in a folder of its own, gone when done.

``python -m tests.cluster COMMAND`` runs a command beside it. Every daemon has a namespace of processes: to
kill the first of them is to pull the plug of a node with all its jobs, and nothing outlives the cluster, even
where the tests are killed. Nothing is read from or written to the machine's own SLURM.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "unshare", "setpriv")
DEFAULT_SETTINGS = Path("/etc/slurm")
SETTINGS = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
Epilog={folder}/epilog.sh
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
# a node that comes back is used again; one that is gone is noticed within this time
ReturnToService=2
SlurmdTimeout=20
KillWait=2
# finished jobs can be asked after for so long
MinJobAge=300
# start jobs at once, not every half minute
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
# the next job goes where there is most room, so that a few are spread
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory,CR_LLN
SlurmdParameters=config_overrides
# a job that takes more memory than it asked for is killed, without control groups too
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
DefMemPerCPU=200
"""
EPILOG = """#!/bin/bash
# an orphan is lost to linuxproc: it lives on where the control groups of a real cluster would end it
for process in /proc/[0-9]*; do
    [ "$process" != "/proc/$$" ] || continue
    grep --quiet --null-data "^SLURM_JOB_ID=$SLURM_JOB_ID$" "$process/environ" || continue
    kill -KILL "${process#/proc/}"
done 2> /dev/null
exit 0
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory_mb}\n"
)
PARTITION = "PartitionName=main Nodes=ALL Default=YES MaxTime=08:00:00 DefaultTime=00:10:00 State=UP\n"
NAMESPACE = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child")


def missing() -> str:
    """Why no cluster can be started here, or nothing."""
    if os.name != "posix" or os.geteuid() != 0:
        return "a simulated cluster needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking or not DEFAULT_SETTINGS.is_dir():
        return f"no {', '.join(lacking) or DEFAULT_SETTINGS} here: apt-get install slurm-wlm munge"
    mounting = [*NAMESPACE, "mount", "--bind", str(DEFAULT_SETTINGS), str(DEFAULT_SETTINGS)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        return "a simulated cluster needs namespaces of processes, and to mount folders in them"
    return ""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Parameters
    ----------
    folder : Path
        Its settings, state and logs.
    names : tuple of str
        Names of its nodes.
    """

    folder: Path
    names: tuple[str, ...]
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of programs that are to use this cluster."""
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *command: str) -> str:
        """What a SLURM command says."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def states(self) -> dict[str, str]:
        """State of every node."""
        lines = self.ask("sinfo", "--noheader", "--Node", "--format", "%N %t").splitlines()
        return dict(line.split() for line in lines)

    def jobs(self) -> dict[str, dict[str, str]]:
        """What SLURM knows of every job of the last minutes, by its number."""
        found = {}
        for line in self.ask("scontrol", "--oneliner", "--quiet", "show", "jobs").splitlines():
            words = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "JobId" in words:
                found[words["JobId"]] = words
        return found

    def start(self, node: str) -> None:
        """Switch a node on."""
        # snakemake hides SLURM_CONF from what it runs in a job, so here the settings are where SLURM looks
        # first; the first process is a shell, which takes care of orphans and outlives the daemon
        settings = f"mount --bind {shlex.quote(str(self.folder))} {DEFAULT_SETTINGS}"
        command = ["bash", "-c", f"{settings} && {{ slurmd -D -N {node} & wait; sleep infinity; }}"]
        self.nodes[node] = _daemon(command, self.folder / f"slurmd-{node}.log", self.environment)

    def kill(self, node: str) -> None:
        """Pull a node's plug: it and all that runs on it is gone at once."""
        _kill(self.nodes.pop(node))

    def daemon(self, node: str) -> int:
        """Process of a node's daemon: where that alone is killed, the node's jobs live on."""
        first = _children(self.nodes[node].pid)[0]
        return next(
            child for child in _children(first) if b"slurmd" in Path(f"/proc/{child}/cmdline").read_bytes()
        )

    def wait_until_idle(self, seconds: float = 120) -> None:
        """Wait until all nodes are there and none has work."""
        wait_for(lambda: set(self.states().values()) == {"idle"}, seconds, "nodes that are idle")


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    problem = ""
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except RuntimeError as error:
            problem = f": {error}"
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}{problem}")


@contextmanager
def cluster(nodes: int = 3, cpus: int = 2, memory_mb: int = 6000) -> Iterator[Cluster]:
    """Start a cluster; at the end it is stopped, with everything that still runs on it.

    Parameters
    ----------
    nodes : int
        Number of nodes.
    cpus, memory_mb : int
        What each node pretends to have.

    Raises
    ------
    RuntimeError
        With the reason, where none can be started.
    """
    if reason := missing():
        raise RuntimeError(reason)
    names = tuple(f"n{number}" for number in range(1, nodes + 1))
    # a socket's path may have 107 letters
    folder = Path(tempfile.mkdtemp(prefix="regcore-slurm-"))
    started = Cluster(folder, names)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "state").mkdir()
        _write_settings(started, cpus, memory_mb)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        files = {"socket": "munge.socket", "key-file": "munge.key", "seed-file": "munge.seed"}
        files |= {"pid-file": "munge.pid", "log-file": "munge.log"}
        munge = [f"--{option}={folder / name}" for option, name in files.items()]
        keys = _daemon(
            ["munged", "--foreground", "--force", *munge], folder / "munged.log", started.environment
        )
        stack.callback(_kill, keys)
        wait_for((folder / "munge.socket").exists, 60, "munged")
        controller = _daemon(["slurmctld", "-D", "-c"], folder / "slurmctld.log", started.environment)
        stack.callback(_kill, controller)
        stack.callback(lambda: [started.kill(node) for node in list(started.nodes)])
        for node in names:
            started.start(node)
        started.wait_until_idle()
        yield started


def _write_settings(started: Cluster, cpus: int, memory_mb: int) -> None:
    port, *ports = _free_ports(1 + len(started.names))
    host = socket.gethostname().split(".")[0]
    lines = [SETTINGS.format(folder=started.folder, host=host, port=port)]
    for name, own in zip(started.names, ports, strict=True):
        (started.folder / name).mkdir()
        lines.append(NODE.format(name=name, host=host, port=own, cpus=cpus, memory_mb=memory_mb))
    (started.folder / "slurm.conf").write_text("".join([*lines, PARTITION]))
    epilog = started.folder / "epilog.sh"
    epilog.write_text(EPILOG)
    epilog.chmod(0o755)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _daemon(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A program in a namespace of processes, which ends with the program and with us."""
    command = ["setpriv", "--pdeathsig", "KILL", *NAMESPACE, *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
            start_new_session=True,
        )  # fmt: skip


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program's namespace, and wait until the system has ended all that was in it."""
    for child in _children(process.pid) or [process.pid]:
        os.kill(child, signal.SIGKILL)
    process.wait()


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []
