"""What the two commands of the README install is locked by its hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"run": ("workflow", "formats", "demo"), "test": ("workflow", "formats", "demo", "test")}


def plain(requirement: str) -> str:
    """Name of a package as the index spells it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def locked(name: str) -> dict[str, str]:
    """Version of every package of a lock file."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert all(entry.count("--hash=sha256:") >= 1 for entry in entries)
    return {plain(entry): entry.split("==")[1].split()[0] for entry in entries}


@pytest.mark.parametrize("name", ["run", "test"])
def test_every_dependency_is_locked(name: str) -> None:
    wanted = [*PROJECT["dependencies"]]
    for extra in EXTRAS[name]:
        wanted += PROJECT["optional-dependencies"][extra]
    missing = sorted({plain(requirement) for requirement in wanted} - set(locked(name)))
    assert not missing, f"run `make lock`: requirements/{name}.lock lacks {', '.join(missing)}"


def test_lock_files_agree_and_name_no_index() -> None:
    run, test = locked("run"), locked("test")
    assert run.items() <= test.items()
    for name in ("run", "test"):
        text = (ROOT / "requirements" / f"{name}.lock").read_text()
        assert "://" not in text
        assert "--index" not in text
