"""``python -m tests.fuzz --cases 100000``: as many hostile files for every reader; prints a count a kind."""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hypothesis

from tests.fuzz.guard import Guard, ViolationError
from tests.fuzz.kinds import KINDS, kind_named

FEWEST = 5


def shares(cases: int) -> dict[str, int]:
    """How many cases of each kind make up so many."""
    total = sum(kind.share for kind in KINDS)
    return {kind.name: max(round(cases * kind.share / total), FEWEST) for kind in KINDS}


def run_kind(name: str, cases: int, seed: int) -> dict[str, object]:
    """Run the cases of one kind in this process."""
    kind = kind_named(name)
    last: dict[str, object] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="regcore-fuzz-") as folder:
        for beside, content in kind.beside.items():
            (Path(folder) / beside).write_bytes(content)
        guard = Guard(Path(folder))

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=cases,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(kind.content)
        def every(case: tuple[str, bytes]) -> None:
            file, content = case
            last.update(file=file, content=base64.b64encode(content).decode("ascii"))
            guard.case(content, file, kind.read)

        failure = None
        try:
            every()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}".splitlines()[0]
            if not isinstance(error, ViolationError):
                import traceback

                failure += " | " + " < ".join(
                    f"{Path(frame.filename).name}:{frame.lineno}"
                    for frame in reversed(traceback.extract_tb(error.__traceback__)[-4:])
                )
    found: dict[str, object] = {"kind": name, **guard.counts, "failure": failure}
    found["most_mb"] = guard.most_bytes / 2**20
    found["seconds"] = time.perf_counter() - started
    return found | ({"case": last} if failure else {})


def run_apart(name: str, cases: int, seed: int) -> dict[str, object]:
    """Run a kind in a process of its own, which may crash."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", "--kind", name]
    done = subprocess.run(
        [*command, "--cases", str(cases), "--seed", str(seed)], capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode not in (0, 1) or not lines:
        return {"kind": name, "cases": 0, "read": 0, "refused": 0, "most_mb": 0.0, "seconds": 0.0,
                "failure": f"the reader ended with code {done.returncode}: {done.stderr[-500:]}"}  # fmt: skip
    return dict(json.loads(lines[-1]))


def main() -> int:
    """Run all kinds, or one; 1 if any case did what it may not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="only this kind, in this process")
    parser.add_argument("--report", type=Path, help="write what was found as JSON")
    given = parser.parse_args()
    if given.kind:
        found = run_kind(given.kind, given.cases, given.seed)
        print(json.dumps(found))
        return int(found["failure"] is not None)
    rows = []
    print(f"{'kind':38}{'cases':>8}{'read':>8}{'refused':>9}{'MiB':>6}{'s':>7}")
    for name, cases in shares(given.cases).items():
        row = run_apart(name, cases, given.seed)
        rows.append(row)
        print(
            f"{name:38}{row['cases']:>8}{row['read']:>8}{row['refused']:>9}{row['most_mb']:>6.0f}{row['seconds']:>7.0f}"
        )
        if row["failure"]:
            print(f"    FAILED: {row['failure']}\n    {row.get('case', '')!s:.600}")
        sys.stdout.flush()
    failed = [str(row["kind"]) for row in rows if row["failure"]]
    total = {name: sum(int(row[name]) for row in rows) for name in ("cases", "read", "refused")}  # type: ignore[call-overload]
    print(f"{'all':38}{total['cases']:>8}{total['read']:>8}{total['refused']:>9}   failures: {len(failed)}")
    if given.report:
        given.report.write_text(json.dumps(rows, indent=1) + "\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
