"""Who was set aside, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from regcore.errors import InputError
from regcore.io.tables import read_table, write_json, write_table
from regcore.study.manifest import read_manifest
from regcore.study.tables import participant_and_session

COLUMNS = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session, if there are any"},
    "image": {"Description": "Image that was set aside"},
    "stage": {"Description": "Stage of the workflow that set it aside"},
    "reason": {"Description": "What was expected and what was found"},
}


def list_quarantine(folders: Sequence[Path], images: Mapping[str, str], output: Path) -> None:
    """Write the table of images that were set aside; without any it has a header only.

    Parameters
    ----------
    folders : sequence of Path
        Folders with manifests, in the order of the stages.
    images : mapping
        Image file of every member.
    output : Path
        Table to write.
    """
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for folder in folders:
        for key, entry in read_manifest(folder).items():
            reasons = [(entry["stage"], entry["reason"])] if entry["status"] != "ok" else []
            if "labels_problem" in entry:
                reasons.append(("labels", entry["labels_problem"]))
            reasons += [(f"channel {name}", each) for name, each in entry.get("problems", {}).items()]
            for stage, reason in reasons:
                member = entry.get("moving", key)
                participant, session = participant_and_session(member)
                rows.setdefault(
                    (key, stage),
                    {
                        "participant_id": participant,
                        "session_id": session,
                        "image": images.get(member, member),
                        "stage": stage,
                        "reason": " ".join(str(reason).split()),
                    },
                )
    frame = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    write_table(output, frame, COLUMNS)


def check_strict(quarantine: Path, output: Path) -> None:
    """Refuse a study from which images were set aside.

    Raises
    ------
    InputError
        If the table has a row.
    """
    frame = read_table(quarantine)
    if len(frame):
        who = ", ".join(sorted(set(frame["participant_id"].astype(str))))
        raise InputError(
            f"{quarantine}: expected no image set aside (strict: true), found {len(frame)}: {who}"
        )
    write_json(output, {"quarantined": 0})
