"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from regcore.kernels import compiled

ROOT = Path(__file__).parents[1]
PROGRAM = "from regcore.kernels.compiled import cache_folder; print(cache_folder())"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one kernel file in the place of regcore's own."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "sample.py").write_text("one = 1\n")
    monkeypatch.setattr(compiled, "ROOM", tmp_path / "kernels")
    monkeypatch.setattr(compiled.numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "kernels"


def folder() -> Path:
    return compiled.cache_folder.__wrapped__()


def test_a_changed_kernel_file_means_another_folder(room: Path) -> None:
    before = folder()
    assert before.parent == room / "__pycache__"
    assert folder() == before
    (room / "sample.py").write_text("one = 2\n")
    assert folder() != before


def test_a_given_folder_is_taken(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.numba.config, "CACHE_DIR", str(tmp_path / "given"))
    assert folder().parent == tmp_path / "given"


def test_a_read_only_installation_uses_the_users_cache(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled.os, "access", lambda path, mode: room not in Path(path).parents)
    assert folder().parent == tmp_path / "home" / "regcore"


def test_without_any_place_the_folder_is_private_and_goes_with_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file")}
    program = PROGRAM + "; import os; print(oct(os.stat(cache_folder()).st_mode))"
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert stat.S_IMODE(int(found[1], 8)) == 0o700
    assert not Path(found[0]).exists()


def test_other_packages_keep_their_own_folder(room: Path) -> None:
    compiled.compiled()(lambda x: x)
    assert compiled.numba.config.CACHE_DIR == ""


SMOOTH = """
import sys, numpy as np
from regcore.kernels.smooth import gaussian_smooth
value = gaussian_smooth(np.arange(216, dtype=np.float32).reshape(6, 6, 6) % 7, 1.0)
print(value.tobytes().hex(), "numba.typed.typeddict" in sys.modules)
"""
PROCESSORS = ("", "x86-64") if platform.machine() == "x86_64" else ("",)


def start(cache: Path, processor: str = "", **more: str) -> subprocess.Popen[str]:
    """A process that smooths an image, with kernels that are kept in a folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)} | more
    if processor:
        environment |= {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    return subprocess.Popen(
        [sys.executable, "-c", SMOOTH], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, bool]:
    """The bytes it found, and whether it had to compile."""
    said, _ = process.communicate()
    assert process.returncode == 0
    value, prepared = said.split()
    return value, prepared == "True"


def kept(cache: Path) -> list[Path]:
    return sorted(file for file in cache.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def smoothed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, bool]]]:
    """What processes on several kinds of processors found that all started at once with an empty cache."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, [ended(each) for each in [start(cache, processor) for processor in PROCESSORS * 3]]


def test_jobs_that_start_together_share_what_they_compile(
    smoothed: tuple[Path, list[tuple[str, bool]]],
) -> None:
    cache, found = smoothed
    assert all(compiled for _, compiled in found)
    for number, processor in enumerate(PROCESSORS):
        mine = found[number :: len(PROCESSORS)]
        assert len(set(mine)) == 1
        assert ended(start(cache, processor)) == (mine[0][0], False)
    # one file for each kernel and kind of processor, and nothing half written
    assert len(kept(cache)) == 2 * len(PROCESSORS)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_file_is_compiled_anew(
    smoothed: tuple[Path, list[tuple[str, bool]]], tmp_path: Path, damage: str
) -> None:
    cache, found = tmp_path / "cache", smoothed[1][0][0]
    shutil.copytree(smoothed[0], cache)
    for file in kept(cache):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes({"flip": bytes(content), "truncate": bytes(content[:-1]), "empty": b""}[damage])
    assert ended(start(cache)) == (found, True)
    assert ended(start(cache)) == (found, False)


def test_code_for_other_types_or_processors_is_never_taken(tmp_path: Path) -> None:
    files = [compiled._Files(str(tmp_path), "kernel-1.py", 1.0) for _ in range(2)]
    for number, (one, key) in enumerate(zip(files, ["float32", "float64"], strict=True)):
        one.save(key, number)
    assert [file.load(key) for file in files for key in ("float32", "float64", "int8")] == [0, 1, None] * 2
    assert compiled._Files(str(tmp_path), "kernel-1.py", 2.0).load("float32") is None


def test_a_read_only_installation_works(tmp_path: Path) -> None:
    """A real one, which not even root can write to."""
    if not shutil.which("unshare") or os.geteuid() != 0:
        pytest.skip("only root can mount a read-only file system")
    installed, home = tmp_path / "installed", tmp_path / "home"
    shutil.copytree(ROOT / "regcore", installed / "regcore", ignore=shutil.ignore_patterns("__pycache__"))
    mount = f"mount --bind {installed} {installed} && mount -o remount,ro,bind {installed}"
    command = ["unshare", "--mount", "sh", "-c", f'{mount} && cd {installed} && exec $0 -c "$1"']
    environment = os.environ | {"XDG_CACHE_HOME": str(home), "PYTHONPATH": "", "NUMBA_CACHE_DIR": ""}
    for compiles in ("True", "False"):
        done = subprocess.run(
            [*command, sys.executable, SMOOTH], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[1] == compiles
    assert len(kept(home / "regcore")) == 2
    assert not list(installed.rglob("__pycache__"))


def test_kept_kernels_run_without_preparing_the_compiler() -> None:
    program = """
import sys, numpy as np
from regcore.kernels.smooth import gaussian_smooth
value = gaussian_smooth(np.ones((6, 6, 6), np.float32), 1.0).mean()
print(float(value), "numba.typed.typeddict" in sys.modules)
"""
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    value, prepared = runs[1].split()
    assert float(value) == pytest.approx(1.0)
    assert prepared == "False"
