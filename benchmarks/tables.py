"""Tables of what is kept, each beside the bars that regcore is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas

from benchmarks.data import Row

SCORES = {
    "dice": ("Dice", 4),
    "tre_mm": ("mean TRE (mm)", 2),
    "tre_median_mm": ("median TRE (mm)", 2),
    "error_mm": ("error (mm)", 3),
    "mi": ("mutual information", 4),
    "mi_truth": ("of the reference", 4),
    "inverse_error_vox": ("inverse error (vox)", 3),
}
VERSUS = "greedy"
NOT_TIMED = "~"


@dataclass(frozen=True)
class Bar:
    """What is asked of regcore on a row.

    Parameters
    ----------
    text : str
    measured : callable
        Of the results (see `kept_results`); NaN where they do not say.
    limit : float
    at_least : bool
        Whether the limit is the least that will do; else it is the most.
    """

    text: str
    measured: Callable[[pandas.DataFrame], float]
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value will do."""
        return value >= self.limit if self.at_least else value <= self.limit


def ratio(column: str, name: str = "regcore", other: str = VERSUS) -> Callable[[pandas.DataFrame], float]:
    """Median over the pairs of a method's value by another's; of times, only where both were timed."""

    def measured(table: pandas.DataFrame) -> float:
        first, second = _both(table, column, name, other)
        return float((first / second).median())

    return measured


def gain(
    column: str, others: Sequence[str] | None = None, sign: int = 1, reduce: str = "mean"
) -> Callable[[pandas.DataFrame], float]:
    """Mean (or least) of regcore's value above another method's over the pairs of both.

    Of several others, beside the best. Where less is better (`sign` -1) the best other is the lowest, and a
    gain is still what lies above it.
    """

    def measured(table: pandas.DataFrame) -> float:
        names = others or [name for name in table.method.unique() if name != "regcore"]
        gains = [np.nan]
        for name in names:
            mine, other = _both(table, column, "regcore", name)
            gains.append((sign * (mine - other)).agg(reduce))
        return sign * float(pandas.Series(gains).min())

    return measured


def own(column: str, reduce: str = "mean") -> Callable[[pandas.DataFrame], float]:
    """Mean, median or maximum of regcore's own values."""

    def measured(table: pandas.DataFrame) -> float:
        mine = table[table.method == "regcore"]
        return float(mine[column].agg(reduce)) if column in mine else float("nan")

    return measured


def _mutual_information_gain(table: pandas.DataFrame) -> float:
    mine = table[table.method == "regcore"]
    return float((mine.mi - mine.mi_truth).mean()) if "mi" in mine else float("nan")


def best_ratio(column: str, score: str) -> Callable[[pandas.DataFrame], float]:
    """`ratio` of regcore to the other method whose mean score is the highest."""

    def measured(table: pandas.DataFrame) -> float:
        others = table[table.method != "regcore"]
        if others.empty or score not in table:
            return float("nan")
        return ratio(column, other=str(others.groupby("method")[score].mean().idxmax()))(table)

    return measured


LABELS = (Bar("mean Dice above the best other method's", gain("dice"), 0, at_least=True),)
FAST = (
    Bar("engine time / greedy's, at most 1/10", ratio("engine_s"), 1 / 10),
    Bar("whole process / greedy's, at most 1/6", ratio("wall_s"), 1 / 6),
)
BARS: dict[str, tuple[Bar, ...]] = {
    "brains": (
        Bar("mean Dice above greedy's, at least 0.015", gain("dice", [VERSUS]), 0.015, at_least=True),
        Bar(
            "Dice above greedy's, worst pair, at least -0.02",
            gain("dice", [VERSUS], reduce="min"),
            -0.02,
            at_least=True,
        ),
        Bar("mean Dice above antsRegistrationSyN[s]'s", gain("dice", ["ants-full"]), 0, at_least=True),
        Bar("whole process / greedy's, at most 1/3", ratio("wall_s"), 1 / 3),
    ),
    "brains_1mm": (
        *FAST,
        Bar("mean Dice above greedy's", gain("dice", [VERSUS]), 0, at_least=True),
        Bar("peak memory / greedy's, at most 1", ratio("memory_mib"), 1),
    ),
    "hippocampus": LABELS,
    "mouse": (
        *LABELS,
        Bar(
            "whole process / that of the best other by Dice, at most 1/3", best_ratio("wall_s", "dice"), 1 / 3
        ),
    ),
    "lung": (Bar("mean TRE at most 1.4 mm", own("tre_mm"), 1.4),),
    "multimodal": (
        Bar("mean distance from the reference at most 1 mm", own("error_mm"), 1),
        Bar("mutual information above the reference's", _mutual_information_gain, 0, at_least=True),
    ),
    "icbm": (
        Bar("mean error above greedy's (mm)", gain("error_mm", [VERSUS], sign=-1), 0),
        *FAST,
    ),
    "startup": (Bar("whole process (s), at most 1.5", own("wall_s", "median"), 1.5),),
}
DIFFEOMORPHIC = (
    Bar("folded voxels, share", own("folded", "max"), 0),
    Bar(
        "mean inverse-consistency error, worst pair (vox), at most 0.1", own("inverse_error_vox", "max"), 0.1
    ),
)


def methods_table(table: pandas.DataFrame) -> pandas.DataFrame:
    """A row a method: means of the scores, medians of the costs, and time against greedy, pair by pair.

    Costs of methods that were not timed are of the run that was scored, beside other work: wall time is left
    out then and processor time marked.
    """
    rows = []
    for name, mine in table.groupby("method", sort=False):
        good = mine[mine["memory_mib"].notna()] if "memory_mib" in mine else mine.iloc[:0]
        newest = mine.iloc[-1]
        failed = f" ({len(mine) - len(good)} failed)" if len(good) < len(mine) else ""
        line = {"method": f"{name} {newest.version}", "settings": newest.settings}
        line["pairs"] = f"{len(good)}{failed}"
        for column, (title, digits) in SCORES.items():
            if column in table and table[column].notna().any():
                line[title] = _number(good[column].mean() if len(good) else np.nan, digits)
        if "folded" in table and table.folded.notna().any():
            line["folded %"] = _number(100 * good.folded.mean() if len(good) else np.nan, 4)
        timed = good[good.runs > 0]
        often = f" x {timed.runs.max():.0f}" if timed.runs.max() > 1 else ""
        line["timed"] = f"{len(timed)}{often}"
        used, sign = (timed, "") if len(timed) else (good, NOT_TIMED)
        for title, column in (("engine (s)", "engine_s"), ("wall (s)", "wall_s")):
            line[title] = _number(timed[column].median(), 2)
        line["CPU (s)"] = _number(used.cpu_s.median() if len(used) else np.nan, 2, sign)
        for title in ("engine", "wall"):
            line[f"{title} / {VERSUS}"] = _number(ratio(f"{title}_s", str(name))(table), 3)
        line["memory (MiB)"] = _number(used.memory_mib.median() if len(used) else np.nan, 0)
        rows.append(line)
    return pandas.DataFrame(rows)


def bars_table(row: Row, table: pandas.DataFrame) -> pandas.DataFrame:
    """A row a bar: what was asked, what was measured, whether it is met; empty without results of regcore."""
    if not (table.method == "regcore").any():
        return pandas.DataFrame()
    rows = []
    for bar in (*BARS[row.name], *(() if row.task == "rigid" else DIFFEOMORPHIC)):
        value = bar.measured(table)
        met = "not measured" if np.isnan(value) else "yes" if bar.met(value) else "**no**"
        rows.append({"bar": bar.text, "measured": _number(value, 4), "met": met})
    return pandas.DataFrame(rows)


def section(row: Row, table: pandas.DataFrame) -> str:
    """Markdown of a row: heading, circumstances, methods, bars."""
    timed = table[table.runs > 0] if "runs" in table else table.iloc[:0]
    words = f"{_span(table.date)}, {', '.join(sorted(set(table.machine)))}"
    if len(timed):
        words += f"; times: {', '.join(str(n) for n in sorted(set(timed.threads)))} threads, "
        words += "medians of the timed pairs"
    parts = [f"## {row.name}", words, markdown(methods_table(table))]
    bars = bars_table(row, table)
    if len(bars):
        parts.append(markdown(bars))
    return "\n\n".join(parts) + "\n"


def markdown(table: pandas.DataFrame) -> str:
    """A table in Markdown."""
    cells = [list(table.columns), ["---"] * len(table.columns)]
    cells += [["" if pandas.isna(value) else str(value) for value in line] for line in table.to_numpy(object)]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def replace_sections(path: Path, sections: dict[str, str]) -> None:
    """Put sections into a Markdown file, each in place of the one of its heading or at the end."""
    head, *old = path.read_text().split("\n## ")
    kept = {part.split("\n", 1)[0].strip(): f"## {part.strip()}\n" for part in old}
    kept |= {name: text.strip() + "\n" for name, text in sections.items()}
    path.write_text("\n".join([head.rstrip() + "\n", *kept.values()]))


def _both(table: pandas.DataFrame, column: str, name: str, other: str) -> tuple[pandas.Series, pandas.Series]:
    used = table[table.runs > 0] if column in ("engine_s", "wall_s", "cpu_s") else table
    if column not in used:
        return pandas.Series(dtype=float), pandas.Series(dtype=float)
    values = [used[used.method == one].set_index("pair")[column].dropna() for one in (name, other)]
    shared = values[0].index.intersection(values[1].index)
    return values[0][shared], values[1][shared]


def _number(value: float, digits: int, sign: str = "") -> str:
    return "" if pandas.isna(value) else f"{sign}{value:.{digits}f}"


def _span(dates: pandas.Series) -> str:
    first, last = min(dates), max(dates)
    return first if first == last else f"{first} to {last}"
