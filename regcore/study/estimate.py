"""What a study will take, before it runs: ``python -m regcore.study.estimate config.yaml study.yaml``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from regcore.errors import InputError
from regcore.io.tables import read_yaml
from regcore.study.plan import Plan


def estimate(plan: Plan) -> pd.DataFrame:
    """Jobs, core hours and largest memory of every rule, for a study that starts from nothing.

    Stages of the template that stop early take less.

    Returns
    -------
    DataFrame
        ``rule, jobs, core_hours, longest_minutes, memory_mb``, most hours first.
    """
    rows = [
        {"rule": name.partition("/")[0], "seconds": cost.seconds, "memory_mb": cost.memory_mb}
        for name, cost in plan.costs.items()
    ]
    groups = pd.DataFrame(rows).groupby("rule")
    table = pd.DataFrame(
        {
            "jobs": groups["seconds"].size(),
            "core_hours": groups["seconds"].sum() / 3600,
            "longest_minutes": groups["seconds"].max() / 60,
            "memory_mb": groups["memory_mb"].max(),
        }
    )
    return table.sort_values("core_hours", ascending=False, kind="stable").reset_index()


def estimate_text(plan: Plan) -> str:
    """The table of `estimate` with its sums, and disk space, to be read."""
    table = estimate(plan)
    lines = [f"{'rule':<22}{'jobs':>7}{'core hours':>12}{'longest job':>13}{'memory':>10}"]
    lines += [
        f"{row.rule:<22}{row.jobs:>7}{row.core_hours:>12.2f}{row.longest_minutes:>9.1f} min"
        f"{row.memory_mb:>7.0f} MB"
        for row in table.itertuples()
    ]
    hours, memory = table["core_hours"].sum(), table["memory_mb"].max()
    lines += [
        "",
        f"{len(plan.images)} images of at most {plan.voxels / 1e6:.2f} million voxels: "
        f"{table['jobs'].sum()} jobs, {hours:.2f} core hours, at most {memory:.0f} MB a job, "
        f"{plan.disk_mb / 1000:.2f} GB of disk space",
    ]
    return "\n".join(lines)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the values that another one replaces, key by key.

    Examples
    --------
    >>> merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [4]})
    {'a': {'b': 3, 'c': 2}, 'd': [4]}
    """
    found = dict(first)
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def main() -> int:
    """Print what a study will take; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m regcore.study.estimate", description=__doc__)
    parser.add_argument("config", nargs="+", type=Path, help="configuration files, later ones first in rank")
    config: dict[str, Any] = {}
    try:
        for file in parser.parse_args().config:
            config = merged(config, read_yaml(file))
        print(estimate_text(Plan.from_config(config)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
