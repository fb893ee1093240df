"""Which atlases label whom, by which way, and which files that takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from regcore.errors import InputError
from regcore.io.bids import label_names_file
from regcore.io.label_tables import read_label_table
from regcore.sides import side_pairs
from regcore.study.atlases import Atlas, read_atlases
from regcore.study.config import existing_path, find_participants
from regcore.study.planning.cohort import MOST_BATCHES, CohortPlan, chunk


def _beside(labels: Path) -> str | None:
    found = label_names_file(labels)
    return None if found is None else os.fspath(found)


class LabellingPlan(CohortPlan):
    """Atlases, the members that they label, and the template library between them."""

    @cached_property
    def atlases(self) -> list[Atlas]:
        """Members whose labels are atlases, then the atlases from the table."""
        if "atlas" not in self.study.targets:
            return []
        table = self.study.atlas.table
        read = [] if table is None else read_atlases(existing_path(table, "atlas.table"))
        return self._cohort_atlases() + read

    @property
    def library(self) -> list[Atlas]:
        """Atlases from the table."""
        return [atlas for atlas in self.atlases if not atlas.is_member]

    def _cohort_atlases(self) -> list[Atlas]:
        found = []
        wanted = self.study.atlas.participants
        for key in find_participants(wanted, self.keys, "atlas.participants"):
            labels = self.by_key[key].labels
            if labels is None:
                raise InputError(f"config atlas.participants: expected {key} to have labels, found none")
            found.append(Atlas(key, self.by_key[key].image, labels, True))
        return found

    @cached_property
    def atlas_batches(self) -> dict[str, list[str]]:
        """Members that the atlases label, in batches."""
        targets = self._labelled() if self.atlases else []
        return chunk(targets, self.study.batch_size or -(-len(targets) // MOST_BATCHES), targets, "a")

    @cached_property
    def atlas_batch_of(self) -> dict[str, str]:
        """Batch of each of these members."""
        return {key: batch for batch, each in self.atlas_batches.items() for key in each}

    def _labelled(self) -> list[str]:
        """Members that are to be labelled by the atlases."""
        if self.study.atlas.include_atlases:
            return self.keys
        atlases = {atlas.key for atlas in self.atlases}
        return [key for key in self.keys if key not in atlases]

    @cached_property
    def template_library(self) -> list[str]:
        """Members through which labels pass from the atlases to all others."""
        atlas = self.study.atlas
        if not self.atlases or atlas.route != "template_library":
            return []
        if not isinstance(atlas.template_library, int):
            return find_participants(atlas.template_library, self.keys, "atlas.template_library")
        own = {each.key for each in self.atlases}
        keys = [key for key in self.keys if key not in own] or self.keys
        count = min(atlas.template_library, len(keys))
        return [keys[(2 * number + 1) * len(keys) // (2 * count)] for number in range(count)]

    @property
    def atlas_labels(self) -> list[str]:
        """Label files of the atlases."""
        return self.outside(atlas.labels for atlas in self.atlases)

    def image_by_member(self) -> dict[str, str]:
        """The same with the atlases from the table."""
        atlases = {each.key: each.key if self.aliases else os.fspath(each.image) for each in self.library}
        return super().image_by_member() | atlases

    def library_atlas(self, key: str) -> Atlas:
        """An atlas from the table."""
        return next(atlas for atlas in self.library if atlas.key == key)

    @property
    def validated_atlases(self) -> list[str]:
        """Atlases that are labelled by the others, to see how accurate the labels are."""
        enough = len(self.atlases) > 1 and self.study.atlas.validation
        return [atlas.key for atlas in self.atlases] if enough else []

    @property
    def makes_priors(self) -> bool:
        """Whether the atlases are carried to the template."""
        return bool(self.atlases) and self.study.atlas.needs_template

    def _read_with(self, keys: Sequence[str]) -> list[str]:
        """Members that labelling these images reads: themselves, the atlases and the template library."""
        atlases = [atlas.key for atlas in self.atlases]
        return [key for key in dict.fromkeys([*keys, *atlases, *self.template_library]) if key in self.by_key]

    def atlas_prepared(self, keys: Sequence[str]) -> list[str]:
        """Folders, below the working folder, of the images that labelling these images reads."""
        return self.prepared(self._read_with(keys)) + [f"library/{atlas.key}" for atlas in self.library]

    def atlas_population(self, keys: Sequence[str]) -> list[str]:
        """Batches whose transforms labelling these images reads."""
        if not self.study.atlas.needs_template:
            return []
        return sorted({f"population/{self.batch_of[key]}" for key in self._read_with(keys)})

    @property
    def candidates(self) -> int:
        """Label maps that are fused into one."""
        return len(self.atlases) * max(len(self.template_library), 1)

    @property
    def ways(self) -> int:
        """Registrations that labelling one image takes."""
        return len(self.template_library or self.atlases)

    def atlas_folders(self, batch: str) -> list[str]:
        """Atlas batches that label the members of a batch."""
        found = [self.atlas_batch_of.get(key) for key in self.keys_of(batch)]
        return sorted({name for name in found if name is not None})

    @cached_property
    def label_names_files(self) -> dict[str, str]:
        """Tables of label names: of the members' own labels (``own``) and of the atlases (``atlas``)."""
        own = self.study.cohort.label_names
        labels = next((each.labels for each in self.images.values() if each.labels is not None), None)
        if own is None and labels is not None:
            own = _beside(labels)
        atlas = self.study.atlas.label_names
        if atlas is None and self.atlases:
            atlas = own if self.atlases[0].is_member else _beside(self.atlases[0].labels)
        return {kind: path for kind, path in (("own", own), ("atlas", atlas)) if path is not None}

    @cached_property
    def has_sides(self) -> bool:
        """Whether names of labels tell left from right."""
        return any(side_pairs(read_label_table(file).names) for file in self.label_names_files.values())

    def subject_atlas(self, subject: str) -> list[str]:
        """Folder of the atlas batch that labels a subject, where there is one."""
        batch = self.atlas_batch_of.get(subject)
        return [] if batch is None else [f"atlas/{batch}"]

    def subject_labels(self, subject: str) -> dict[str, Any]:
        """Where the labels of a subject come from: what `SubjectLabels` takes beside the atlas batch."""
        member = self.by_key[subject].labels
        own = {} if member is None else {subject: os.fspath(member)}
        return {
            "own": own | self.subjects[subject].labels,
            "atlas_name": self.study.atlas.name,
            "names": self.label_names_files,
            "layout": self.layout,
        }
