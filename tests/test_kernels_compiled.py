"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from regcore.kernels import compiled

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
