"""`regcore register` interrupted at moments swept over its run: what is there is whole, one line says why."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regcore.image import Image
from regcore.io.nifti import write_image
from regcore.kernels.smooth import gaussian_smooth
from regcore.space import Grid

pytestmark = pytest.mark.slow

SETTINGS = """\
linear: [{model: rigid, metric: ssd, shrink: [4], iterations: [10], rotations_deg: 0}]
deformable: {metric: ssd, shrink: [4, 2], iterations: [10, 5]}
"""
NAMES = {"xfm.h5", "inverse.h5", "warped.nii.gz", "xfm.json"}


def start(images: Path, out: Path) -> subprocess.Popen[str]:
    out.mkdir()
    names = ["-t", "xfm.h5", "-i", "inverse.h5", "-w", "warped.nii.gz"]
    outputs = [each if each.startswith("-") else str(out / each) for each in names]
    # packed files take longer to write, which leaves time to interrupt it
    command = [sys.executable, "-m", "regcore", "register", "fixed.nii", "moving.nii", *outputs, "--compress"]
    with out.with_suffix(".log").open("w") as log:
        return subprocess.Popen([*command, "-s", "settings.yaml"], cwd=images, stderr=log, text=True)


def content(out: Path) -> dict[str, Any]:
    """What lies in a folder, by name; of the report all but how long it took."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in out.iterdir()}
    if "xfm.json" in found:
        found["xfm.json"] = json.loads(found["xfm.json"])
        del found["xfm.json"]["Seconds"]
    return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    grid = Grid((64, 60, 56), np.eye(4))
    centred = np.meshgrid(*(np.linspace(-1.4, 1.4, n) for n in grid.shape), indexing="ij")
    inside = sum(each**2 for each in centred) < 1
    for seed, name in enumerate(("fixed", "moving")):
        noise = np.random.default_rng(seed).standard_normal(grid.shape).astype(np.float32)
        data = (1 + 5 * gaussian_smooth(noise, 2.0)).clip(0.1, 2) * inside
        write_image(folder / f"{name}.nii", Image(data.astype(np.float32), grid))
    (folder / "settings.yaml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert start(images, out).wait() == 0
    found = content(out)
    assert found.keys() == NAMES
    return found


def catches_sigterm(process: subprocess.Popen[str], _: Path) -> bool:
    """Whether the command line has begun; what comes before is Python's own start."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def said(words: str) -> Callable[[subprocess.Popen[str], Path], bool]:
    return lambda _, out: words in out.with_suffix(".log").read_text()


MOMENTS: dict[str, Callable[[subprocess.Popen[str], Path], bool]] = {
    "loading": catches_sigterm,
    "rigid": said("rigid level"),
    "deformable": said("deformable level 1"),
    "writing": lambda _, out: any(path.name.startswith(".") for path in out.iterdir()),
    "between": lambda _, out: (out / "xfm.h5").exists(),
    "image": lambda _, out: any(path.name.endswith("warped.nii.gz") for path in out.iterdir()),
}
ENDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated"), signal.SIGKILL: (-9, "")}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks /proc which signals are caught")
@pytest.mark.parametrize("sent", ENDS, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_an_interrupted_registration_leaves(
    images: Path, undisturbed: dict[str, Any], tmp_path: Path, moment: str, sent: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start(images, out)
    while process.poll() is None and not MOMENTS[moment](process, out):
        time.sleep(0.0005)
    process.send_signal(sent)
    process.wait(60)
    found = content(out)
    if process.returncode == 0:
        assert found == undisturbed
        pytest.skip("busy machine: it was over before it could be interrupted")
    temporary = {name for name in found if name.startswith(".")}
    whole = found.keys() - temporary
    assert whole <= NAMES
    assert all(found[name] == undisturbed[name] for name in whole), whole
    code, word = ENDS[sent]
    assert process.returncode == code
    lines = [line for line in out.with_suffix(".log").read_text().splitlines() if " level " not in line]
    if sent == signal.SIGKILL:
        assert not lines
    else:
        assert [line for line in lines if line] == [f"regcore: {word}; nothing half-written is left"]
        assert not temporary
