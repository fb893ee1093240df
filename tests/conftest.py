"""Options and fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--runslow") or "slow" in str(config.getoption("-m")):
        return
    skip = pytest.mark.skip(reason="slow: run with --runslow")
    for item in items:
        if "slow" in item.keywords:
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
