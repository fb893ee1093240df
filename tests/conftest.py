"""Options and fixtures that all tests share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Snakemake's plugin asks SLURM for its settings at every start, and waits ten seconds where that is installed
# but does not run; tests that need a cluster start their own and never use one that is there
os.environ["SLURM_CONF"] = os.devnull


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--runlong", action="store_true", help="also run those marked long, and slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = str(config.getoption("-m"))
    runs = {"long": config.getoption("--runlong") or "long" in asked}
    runs["slow"] = runs["long"] or config.getoption("--runslow") or "slow" in asked
    for mark, run in runs.items():
        skip = pytest.mark.skip(reason=f"{mark}: run with --run{mark}")
        for item in items:
            if mark in item.keywords and not run:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Path of a folder of real images below ``REGCORE_DATA``; skips where it is not there."""

    def locate(name: str) -> Path:
        root = os.environ.get("REGCORE_DATA", "")
        if not root:
            pytest.skip("REGCORE_DATA is not set: no real images here")
        folder = Path(root) / name
        if not folder.is_dir():
            pytest.skip(f"no folder {name} in REGCORE_DATA")
        return folder.resolve()

    return locate


@pytest.fixture(scope="session")
def brains(real_data: Callable[[str], Path]) -> Path:
    """BIDS folder of 24 whole heads at 2 mm with labels in ``derivatives/dlmuse``."""
    return real_data("brains")


@pytest.fixture(scope="session")
def demo_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo folder with its cohort, truth and config, made once a session."""
    pytest.importorskip("nilearn", reason="the demo cohort needs nilearn's package data")
    from regcore.demo import make_demo

    return make_demo(tmp_path_factory.mktemp("demo") / "demo")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the tiny study that warms the kernels; tests leave them as they are."""
    from regcore.study.warm import tiny_study

    root = tmp_path_factory.mktemp("tiny")
    tiny_study(root)
    return root / "results"


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished study of five members, two of whom cannot be used; tests leave it as it is."""
    pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")
    import numpy as np

    from regcore.image import Image
    from regcore.io.nifti import write_image
    from regcore.space import Grid
    from tests.workflows import SIZE, config_for, snakemake, write_cohort

    folder = tmp_path_factory.mktemp("study")
    write_cohort(folder, ["a", "b", "c", "d"])
    grid = Grid((SIZE, SIZE, SIZE), np.eye(4))
    write_image(folder / "c.nii.gz", Image(np.zeros(grid.shape, np.float32), grid))
    (folder / "d.nii.gz").write_bytes(b"not an image")
    write_cohort(folder, ["a", "b", "c", "d", "e"])
    found = snakemake(folder, config_for(folder))
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def bids_issues() -> Callable[[Path], list[dict[str, Any]]]:
    """What the official BIDS validator finds in a folder; skips where it is not installed."""
    beside = Path(sys.executable).parent / "bids-validator-deno"
    program = str(beside) if beside.exists() else shutil.which("bids-validator-deno")
    if program is None:
        pytest.skip("bids-validator-deno is not installed")

    def validate(folder: Path) -> list[dict[str, Any]]:
        config = Path(__file__).with_name("bids_validator.json")
        command = [program, "--format", "json", "--config", str(config), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)["issues"]["issues"]
        return [issue for issue in found if issue["severity"] != "ignore"]

    return validate


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real headless Chromium; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="driving a browser needs the extra 'test'")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as session:
        # root in a container has no sandbox
        opened = session.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
