"""Label maps on the template of a subject, in which its sessions are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from regcore.image import Image
from regcore.io.label_tables import LabelTable, read_label_table
from regcore.study.manifest import Entry, located
from regcore.study.measure import label_maps
from regcore.study.outputs import Layout
from regcore.study.sessions import Visits

FOREGROUND = "foreground"


@dataclass(frozen=True)
class SubjectLabels:
    """Labels of a subject and of its sessions: their own, and those that the atlases give.

    Parameters
    ----------
    own : mapping
        Own label file of the subject, on its template, and of each session.
    atlas : sequence of Path
        Folder of the atlas batch that labels the subject, where there is one.
    atlas_name : str
        Of the set of atlases.
    names : mapping
        Tables of label names: ``own``, ``atlas``.
    layout : Layout
        Where published files lie.
    """

    own: Mapping[str, str]
    atlas: Sequence[Path]
    atlas_name: str
    names: Mapping[str, str]
    layout: Layout

    @cached_property
    def tables(self) -> dict[str, LabelTable]:
        """Names and colours, by kind of labels."""
        return {kind: read_label_table(file) for kind, file in self.names.items()}

    def names_of(self, kind: str) -> Mapping[int, str]:
        """Names of the labels of a kind of region."""
        return {1: FOREGROUND} if kind == FOREGROUND else self.tables.get(kind, LabelTable()).names

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return {key: entry for key, (_, entry) in located(self.atlas).items()}

    def fused(self, subject: str) -> Path | None:
        """Labels that the atlases give the subject's template, where they do."""
        done = self._entries.get(subject, {}).get("status") == "ok"
        return self.layout.fused(subject, self.atlas_name) if done else None

    def regions(self, visits: Visits) -> dict[str, Image]:
        """Label maps on the template of a subject: its own, those of the atlases, and its foreground."""
        found = label_maps(visits.subject, visits.grid, self.own, self._entries, self.layout, self.atlas_name)
        return {kind: image for kind, image in found.items() if image.data.any()} | {FOREGROUND: visits.mask}
