"""How a template comes about: its iterations, their stages, a template that is given."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from regcore.study.outputs import find_given, known_transform
from regcore.study.planning.cohort import CohortPlan
from regcore.study.settings import TemplateSettings, TemplateStage


def numbered(settings: TemplateSettings) -> list[str]:
    """Names of the iterations of a template: ``01``, ``02``, ..."""
    return [f"{number:02d}" for number in range(1, len(settings.iterations) + 1)]


class TemplatePlan(CohortPlan):
    """Iterations of the template and of the subjects' templates."""

    @cached_property
    def iterations(self) -> list[str]:
        """Names of the iterations of the template."""
        return numbered(self.study.template)

    @cached_property
    def session_iterations(self) -> list[str]:
        """Names of the iterations of a subject's template."""
        return numbered(self.study.sessions)

    @property
    def last(self) -> str:
        """The last iteration of the template."""
        return self.iterations[-1] if self.iterations else "00"

    @property
    def last_session(self) -> str:
        """The last iteration of a subject's template."""
        return self.session_iterations[-1] if self.session_iterations else "00"

    @property
    def uses_template(self) -> bool:
        """Whether anything asked for needs the template."""
        return self.study.uses_template

    def stage(self, iteration: str, of: TemplateSettings | None = None) -> TemplateStage:
        """Settings of an iteration; how many follow it does not matter to it."""
        stages = (of or self.study.template).iterations
        return replace(stages[int(iteration) - 1], repeats=1)

    @cached_property
    def given(self) -> dict[str, Path]:
        """Images and mask of a template that is given; empty where one is built from nothing."""
        template, cohort = self.study.template, self.study.cohort
        if template.given is None or not self.uses_template:
            return {}
        key, folder = template.given
        return find_given(Path(folder), cohort.suffix, f"template.{key}", cohort.channels)

    @property
    def held_iterations(self) -> list[str]:
        """Iterations that leave a given template as it is."""
        held = self.study.template.held
        return [each for each in self.iterations if self.stage(each).name in held]

    def known_transforms(self, batch: str) -> dict[str, str]:
        """Transforms of members of a batch to the template that is given, as far as there are any."""
        folder, suffix = self.given["image"].parent, self.study.cohort.suffix
        found = ((key, known_transform(folder, suffix, key)) for key in self.keys_of(batch))
        return {key: os.fspath(path) for key, path in found if path is not None}

    def stage_name(self, iteration: str, of: TemplateSettings | None = None) -> str:
        """Name of the stage of an iteration; the first average is only centred."""
        return "centre" if iteration == "00" else self.stage(iteration, of).name

    def before(self, iteration: str) -> str:
        """Name of the iteration before."""
        return f"{int(iteration) - 1:02d}"

    @property
    def shown_iterations(self) -> list[str]:
        """Iterations whose template the report shows."""
        built = [each for each in self.iterations if each not in self.held_iterations]
        return ["00", *built] if self.uses_template else []

    def previous_template(self, iteration: str) -> list[str]:
        """The iteration before, if there is one."""
        return [] if iteration == "00" else [self.before(iteration)]
