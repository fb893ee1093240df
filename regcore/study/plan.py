"""What has to be made for a study: batches, iterations, files. The Snakefile asks; no image is opened."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from regcore.errors import InputError
from regcore.io.cohort import Member, read_cohort
from regcore.io.pseudonyms import pseudonym, read_secret
from regcore.study.config import Study, existing_path
from regcore.study.designs import plan_design
from regcore.study.planning.costs import Cost
from regcore.study.planning.jobs import job_costs
from regcore.study.planning.resources import ResourcesPlan
from regcore.study.settings import StatisticsSettings
from regcore.study.stratify import Stratum, stratify

SLACK = 3
"""Processors differ, and share memory and disks with others."""
SNAKEMAKE_MB = 400
"""A job on a cluster is a Snakemake that starts another (SLURM: 250 to 380 MB beside those of the script)."""


def fingerprint(*values: object) -> str:
    """Digest of settings, for Snakemake to compare between runs: it records plain values, but no objects.

    Examples
    --------
    >>> fingerprint("a", [1]) == fingerprint("a", [1]), fingerprint(1.0) == fingerprint(2.0)
    (True, False)
    """
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


class Plan(ResourcesPlan):
    """Batches, iterations and files of a study: its parts together, and what they lead to."""

    def __init__(
        self, study: Study, members: Sequence[Member], aliases: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(study, members, aliases)
        # asked for here, since what cannot work is refused before anything runs
        _ = self.atlases, self.pair_batches, self.template_library
        self._check_paths()

    def _check_paths(self) -> None:
        """Refuse files whose names Snakemake would take for patterns."""
        files: list[object] = [
            file for each in self.members for file in (each.image, each.mask, each.labels) if file
        ]
        files += [file for atlas in self.library for file in (atlas.image, atlas.labels)]
        files += [
            end for pairs in self.pair_batches.values() for pair in pairs for end in (pair.fixed, pair.moving)
        ]
        for file in files:
            if "{" in str(file) or "}" in str(file):
                raise InputError(
                    f"{file}: expected a path without braces, found some (wildcards in Snakemake)"
                )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], stored: Callable[[str], str] | None = None) -> Plan:
        """Plan of a configuration; relative paths start at the working folder.

        Parameters
        ----------
        config : mapping
        stored : callable, optional
            Path of the local copy of an object in a store (see `read_cohort`).

        Raises
        ------
        InputError
            If the configuration or the cohort cannot work.
        """
        study = Study.from_dict(config)
        cohort = study.cohort
        members = read_cohort(
            cohort.source,
            cohort.suffix,
            cohort.labels_from,
            cohort.labels_description,
            entities=cohort.entities,
            masks_from=cohort.masks_from,
            channels=list(cohort.channels),
            stored=stored,
        )
        for key, text in (
            ("cohort.label_names", cohort.label_names),
            ("atlas.label_names", study.atlas.label_names),
        ):
            if text is not None:
                existing_path(text, key)
        if study.privacy.pseudonym_secret is None:
            return cls(study, members)._checked()
        secret = read_secret(existing_path(study.privacy.pseudonym_secret, "privacy.pseudonym_secret"))
        aliases = {member.participant: pseudonym(secret, member.participant) for member in members}
        members = [replace(member, participant=aliases[member.participant]) for member in members]
        return cls(study, sorted(members, key=lambda member: member.key), aliases)._checked()

    def _checked(self) -> Plan:
        """Refuse what only the whole cohort can tell, before anything runs."""
        _ = self.given, self.strata
        return self

    # statistics

    @property
    def template_labels(self) -> dict[str, str]:
        """Labels of the template that structures are measured in: of the members' own, of the atlases."""
        found = {}
        if self.uses_template and self.has_labels:
            found["own"] = os.fspath(self.layout.template_labels)
        if self.uses_template and self.makes_priors:
            found["atlas"] = os.fspath(self.layout.priors(self.study.atlas.name)["labels"])
        return found

    @property
    def designs(self) -> list[str]:
        """Names of the designs that are tested."""
        return list(self.study.statistics.designs) if "statistics" in self.study.targets else []

    def statistics_of(self, design: str) -> StatisticsSettings:
        """Settings of one design alone: the others do not matter to it."""
        settings = self.study.statistics
        return replace(settings, designs={design: settings.designs[design]})

    def check_designs(self) -> None:
        """Refuse designs that cannot work even if no image is set aside; takes a second of imports.

        Raises
        ------
        InputError
            For the first one.
        """
        for name in self.designs:
            plan_design(name, self.study.statistics, self.covariates(), bool(self.template_labels))

    # tables

    @property
    def tables(self) -> list[str]:
        """Names of the tables that the targets lead to."""
        names = []
        targets = set(self.study.targets)
        labelled = self.has_labels or bool(self.atlases)
        if self.uses_template or targets & {"atlas", "pairwise"}:
            names.append("registrations")
        if self.uses_template:
            names.append("convergence")
        if self.measures_influence:
            names.append("influence")
        if self.strata:
            names.append("strata")
        if labelled:
            names.append("volumes")
        if self.template_labels:
            names += ["jacobians", "consistency"]
        if labelled and self.has_sides:
            names.append("asymmetry")
        if self.atlases and any(self.by_key[key].labels for key in self.atlas_batch_of):
            names.append("overlap")
        if self.validated_atlases:
            names.append("atlas_validation")
        if self.subjects:
            names.append("sessions")
        if any(subject.is_averaged and subject.labels for subject in self.subjects.values()):
            names.append("propagation")
        if any(subject.maps for subject in self.subjects.values()):
            names += ["accumulated", "histograms"]
        return names

    @cached_property
    def strata(self) -> list[Stratum]:
        """Conditional templates that are asked for."""
        covariates = {member.key: member.covariates for member in self.members}
        return stratify(self.study.strata, covariates) if self.uses_template else []

    @property
    def measures_influence(self) -> bool:
        """Whether it is measured what each member does to the template; to a frozen one they do nothing."""
        return self.uses_template and self.study.template.frozen is None

    @property
    def measured(self) -> bool:
        """Whether members are measured one by one: structures, pictures."""
        return self.uses_template or self.has_labels or bool(self.atlases)

    def folders(self, *kinds: str) -> list[str]:
        """Working folders of all batches of these kinds, as far as the targets lead to them."""
        subjects = self.subjects.values()
        made = {
            "prepared": list(dict.fromkeys([*self.prepared_batches, *self.subjects])),
            "sessions": [subject.key for subject in subjects if subject.is_averaged],
            "chained": list(self.subjects) if self.uses_template else [],
            "propagated": list(self.subjects),
            "accumulated": [subject.key for subject in subjects if subject.maps],
            "followed": list(self.subjects),
            "population": list(self.batches) if self.uses_template else [],
            "morphometry": list(self.batches) if self.uses_template else [],
            "measured": list(self.batches) if self.measured else [],
            "strata": [str(stratum.number) for stratum in self.strata],
            "influence": ["all"] if self.measures_influence else [],
            "atlas": list(self.atlas_batches),
            "library": [atlas.key for atlas in self.library],
            "template_library": self.template_library,
            "validation": self.validated_atlases,
            "pairwise": list(self.pair_batches),
        }
        return [f"{kind}/{name}" for kind in kinds for name in made[kind]]

    # resources

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """What every job of the study is expected to take, by rule and job."""
        return job_costs(self)

    def cost(self, job: str) -> Cost:
        """What a job is expected to take; one that the targets do not lead to, as much as any."""
        return self.costs.get(job) or self._most

    @cached_property
    def _most(self) -> Cost:
        known = self.costs.values()
        return Cost(max(each.seconds for each in known), max(each.memory_mb for each in known))

    def memory_mb(self, job: str, attempt: int) -> int:
        """Memory that a job asks for, with that of the Snakemake around it; doubled on each retry."""
        return math.ceil(self.cost(job).memory_mb + SNAKEMAKE_MB) << (attempt - 1)

    def minutes(self, job: str, attempt: int) -> int:
        """Run time after which a job is ended, doubled on each retry.

        Three times what is expected, and five minutes for a start from slow disks.
        """
        return math.ceil(5 + SLACK * self.cost(job).seconds / 60) << (attempt - 1)
