"""What the tables of a study say, for the report: outlying members, accuracy, run time."""

from __future__ import annotations

import pandas as pd

from regcore.qc import checks, outliers
from regcore.qc.data import ReportData
from regcore.qc.weights import MEASURES

STRUCTURE = ("structure", "name", "label_name", "label", "index")
SHOWN = ("population", "structures")
"""Stages in which an outlier is a member that can be seen on the template."""
VOLUME = ("volume_mm3", "volume")
RELATIVE = ("relative_mean", "mean_relative", "rel_mean", "log_jacobian_relative_mean", "mean_rel")
ABSOLUTE = ("absolute_mean", "mean_absolute", "abs_mean", "log_jacobian_absolute_mean", "mean_abs")


def find_outliers(data: ReportData) -> pd.DataFrame:
    """Outlying registrations of every stage, and members with many outlying structures.

    Returns
    -------
    DataFrame
        Columns `member`, `stage`, `moving` (another image, if it is one), `measure`, `value`, `median`,
        `score`.
    """
    columns = ["member", "stage", "moving", "measure", "value", "median", "score"]
    parts = []
    if data.registrations is not None:
        parts += [_outlying(name, frame) for name, frame in _stages(data.registrations)]
    for title, frame_of, value in (
        ("volume", data.volumes, VOLUME),
        ("relative Jacobian", data.jacobians, RELATIVE),
    ):
        name, column = checks.first_column(frame_of, *STRUCTURE), checks.first_column(frame_of, *value)
        if frame_of is None or name is None or column is None:
            continue
        far = outliers.structure_outliers(frame_of, name, column)
        structures = frame_of[name].nunique()
        counts = pd.Series(0, index=sorted(set(outliers.member_keys(frame_of))))
        counts = counts.add(far["member"].value_counts(), fill_value=0)
        scores = outliers.robust_scores(counts.to_numpy())
        # a few outlying structures are ordinary among many: a tenth of them is not
        many = (scores >= outliers.THRESHOLD) & (counts.to_numpy() >= max(2, 0.1 * structures))
        rows = pd.DataFrame(
            {
                "member": counts.index[many],
                "stage": "structures",
                "measure": f"structures with an outlying {title}",
                "value": counts.to_numpy()[many],
                "median": float(counts.median()),
                "score": scores[many],
            }
        )
        parts.append(rows)
    kept = [part for part in parts if not part.empty]
    return (
        pd.concat(kept, ignore_index=True).reindex(columns=columns) if kept else pd.DataFrame(columns=columns)
    )


def _stages(registrations: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Registrations of every stage that results are made with; iterations of a template only lead there."""
    frame = registrations
    if "iteration" in frame and frame["iteration"].isna().any():
        frame = frame[frame["iteration"].isna()]
    if "stage" not in frame:
        return [(SHOWN[0], frame)] if len(frame) else []
    groups = {str(name): group for name, group in frame.groupby("stage", sort=False)}
    # the members on the template first
    return sorted(groups.items(), key=lambda each: each[0] != SHOWN[0])


def _outlying(stage: str, frame: pd.DataFrame) -> pd.DataFrame:
    keys = outliers.member_keys(frame).to_numpy()
    moving = frame["moving"].to_numpy() if "moving" in frame else keys
    # an image can be registered to several in one stage: rows are told apart by their place
    found = outliers.measure_outliers(frame.assign(key=range(len(frame))), MEASURES)
    places = found["member"].astype(int).to_numpy()
    found["member"] = keys[places]
    found.insert(1, "stage", stage)
    found.insert(2, "moving", [None if moving[at] == keys[at] else moving[at] for at in places])
    return found


def chosen_fusion(data: ReportData) -> pd.DataFrame:
    """Rows of the validation of the method that labels the members; all rows where it is not known."""
    assert data.validation is not None
    chosen = data.validation[data.validation["fusion"] == data.fusion]
    return data.validation if chosen.empty else chosen


def accuracy_summary(validation: pd.DataFrame | None) -> pd.DataFrame | None:
    """Means over structures and atlases of every fusion method, the highest Dice first."""
    if validation is None or validation.empty:
        return None
    bias = validation["volume_bias_percent"]
    frame = validation.assign(absolute_volume_bias_percent=bias.abs())
    columns = ["dice", "hausdorff95_mm", "surface_distance_mm", "volume_bias_percent"]
    means = frame.groupby("fusion", sort=True)[[*columns, "absolute_volume_bias_percent"]].mean()
    return means.sort_values("dice", ascending=False, kind="stable").reset_index()


def runtime_summary(runtime: pd.DataFrame | None) -> pd.DataFrame | None:
    """Jobs, time and memory by rule, the longest first."""
    if runtime is None or "rule" not in runtime or "seconds" not in runtime:
        return None
    groups = runtime.groupby("rule", sort=True)
    summary = pd.DataFrame(
        {
            "jobs": groups["seconds"].size(),
            "total_seconds": groups["seconds"].sum(),
            "median_seconds": groups["seconds"].median(),
            "longest_seconds": groups["seconds"].max(),
        }
    )
    for name, source, how in (
        ("largest_memory_mb", "memory_mb", "max"),
        ("expected_memory_mb", "expected_memory_mb", "max"),
        ("cpu_seconds", "cpu_seconds", "sum"),
        ("expected_cpu_seconds", "expected_cpu_seconds", "sum"),
    ):
        if source in runtime:
            summary[name] = groups[source].agg(how)
    return summary.sort_values("total_seconds", ascending=False, kind="stable").reset_index()


def usage_sentence(runtime: pd.DataFrame | None, disk_gb: tuple[float, float] | None) -> str:
    """What all jobs together took, beside what was expected before; empty where nothing was expected.

    Examples
    --------
    >>> one = {"cpu_seconds": [3600.0], "expected_cpu_seconds": [7200.0], "memory_mb": [90.0]}
    >>> usage_sentence(pd.DataFrame(one | {"expected_memory_mb": [100.0]}), (1.5, 1.2))
    '1 jobs used 1.00 core hours (expected 2.00), at most 90 MB each (100), and 1.50 GB of disk space (1.20).'
    """
    wanted = ("cpu_seconds", "expected_cpu_seconds", "memory_mb", "expected_memory_mb")
    if runtime is None or disk_gb is None or not set(wanted) <= set(runtime):
        return ""
    hours, planned = (runtime[name].sum() / 3600 for name in wanted[:2])
    most, expected = (runtime[name].max() for name in wanted[2:])
    return (
        f"{len(runtime)} jobs used {hours:.2f} core hours (expected {planned:.2f}), at most {most:.0f} MB "
        f"each ({expected:.0f}), and {disk_gb[0]:.2f} GB of disk space ({disk_gb[1]:.2f})."
    )
