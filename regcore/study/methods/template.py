"""How the text on methods says that templates were built, and what a member weighed in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regcore.qc.weights import MEASURES
from regcore.study.config import Study
from regcore.study.methods.words import Words, count, listed
from regcore.study.settings import SessionsSettings, TemplateSettings, TemplateStage

ACTIONS = {"keep": "kept at full weight", "exclude": "excluded"}


def on_channels(study: Study, words: Words) -> str:
    """Further images of each member, matched in the stages of every template."""
    named = listed(
        f"{name} (weight {each.weight:g}, "
        f"{'the measure of the stage' if each.metric is None else words.metric(each.metric)})"
        for name, each in study.cohort.channels.items()
    )
    return (
        f"{named} images were matched together with the {study.cohort.suffix} images (weight 1) under one "
        "transform in all stages of a template, by the weighted sum of the measures; members without one "
        "were registered by the images that they have. Each modality was averaged to a template of its own."
    )


def on_sessions(study: Study, words: Words) -> str:
    """Templates of participants with several sessions."""
    settings = study.sessions
    said = (
        "The sessions of each participant were first averaged into a template of their own, in which no "
        f"session is special{words.cite('within', 'mean_shape')}: {_built(settings, words)}"
    )
    if study.uses_template:
        said += (
            " These templates, and the images of participants with one session, were then the members of "
            "the template of the population, one vote a participant; the transform of a session to it is "
            "the chain of both."
        )
    return said


def on_template(study: Study, words: Words) -> str:
    """The template of the population: built, rebuilt from another one, or given."""
    settings = study.template
    known = "members that were part of it with the same image kept their transforms"
    if settings.frozen:
        return (
            f"Images were registered to the published template {Path(settings.frozen).name}, which was not "
            f"changed, once in each stage: {_stages(settings.iterations, words, once=True)}; {known}."
        )
    if settings.held:
        held = [stage for stage in settings.iterations if stage.name in settings.held]
        said = (
            f"The template was rebuilt from the published template {Path(str(settings.start)).name}. Images "
            f"were first registered to it as it is, once in each stage: {_stages(held, words, once=True)}; "
            f"{known}. All images were then registered repeatedly to their weighted average, which was moved "
            f"to the mean shape{words.cite('mean_shape')}: "
        )
    else:
        start = (
            f"the published {Path(settings.start).name}"
            if settings.start
            else "one another by their centres of mass"
        )
        said = (
            "An unbiased template was built by repeatedly registering all images to their weighted average "
            f"and moving the average to the mean shape{words.cite('mean_shape')}, beginning with images laid "
            f"on {start}, in stages: "
        )
    said += _built(settings, words)
    if settings.symmetric:
        said += (
            " Every image counted together with its mirror image, left for right, so that the template is "
            f"symmetric{words.cite('mirror')}."
        )
    return said


def on_weights(
    study: Study, members: int, excluded: int, overrides: Sequence[Mapping[str, Any]], words: Words
) -> str:
    """How registrations were judged, and what an outlier weighed."""
    rule = study.qc
    judges = rule.rule != "none" and bool(rule.measures)
    enough = judges and members >= rule.fewest
    sentences = []
    # sessions are judged beside their own template, where there are enough of them
    if enough or (judges and study.uses_sessions):
        sentences.append(_rule(study, enough and study.uses_template, words))
    if study.uses_template and not enough:
        few = f"Cohorts of fewer than {count(rule.fewest, 'member')} are not judged"
        rest = ", but for what a person decided" if overrides else ""
        sentences.append(
            f"{few if judges else 'Registrations decided no weight'}: all members weighed the same in "
            f"{'the variance over members' if study.template.frozen else 'the average'}{rest}."
        )
    if overrides:
        sentences.append(_decisions(overrides))
    if excluded:
        where = "" if study.template.frozen else " in the template"
        sentences.append(f"In all, {count(excluded, 'member')} weighed nothing{where}.")
    if study.template.frozen and (enough or overrides):
        sentences.append("The template that was given does not depend on these weights.")
    return " ".join(sentences)


def _rule(study: Study, population: bool, words: Words) -> str:
    """The rule that weighs members of the population, sessions of a participant, or both."""
    rule, frozen = study.qc, study.template.frozen
    sessions = f"sessions of participants with at least {count(rule.fewest, 'session')}"
    if rule.rule == "downweight":
        verb, again = f"weighed {rule.threshold:g} over their distance in", "did"
    else:
        verb, again = "were left out of", "were"
    average = "the variance over members" if frozen and population else "the next average"
    also = f", and so {again} {sessions} in their own template" if population and study.uses_sessions else ""
    return (
        "Registrations were judged by "
        + ", ".join(MEASURES[name].words for name in rule.measures)
        + ", as robust distances from the median of the cohort on the bad side (median absolute deviation)"
        f"{words.cite('mad')}; {'members' if population else sessions} beyond {rule.threshold:g} {verb} "
        f"{average}"
        f"{words.cite('huber') if rule.rule == 'downweight' else ''}{also}."
    )


def _decisions(overrides: Sequence[Mapping[str, Any]]) -> str:
    made: dict[str, int] = {}
    for row in overrides:
        action = ACTIONS.get(row["action"]) or f"registered with the preset {row['preset']}"
        made[action] = made.get(action, 0) + len(row["keys"])
    decided = listed(
        f"{count(number, 'member')} {'was' if number == 1 else 'were'} {what}"
        for what, number in made.items()
    )
    return f"By a person's decision, {decided}."


def _built(settings: TemplateSettings | SessionsSettings, words: Words) -> str:
    """Stages that build a template, and what ends them."""
    stages = [stage for stage in settings.stages if stage.repeats and stage.name not in settings.held]
    target = "a sharpened copy of the average" if settings.sharpen else "the average"
    return (
        f"{_stages(stages, words)}. Registrations were to {target} and started from the transforms of the "
        f"iteration before. A stage ended once the shape of the template, and in a linear stage the images, "
        f"moved by less than {settings.stop_mm:g} mm (RMS)."
    )


def _stages(stages: Sequence[TemplateStage], words: Words, once: bool = False) -> str:
    return "; ".join(
        stage.name
        + (": " if once else f" ({count(stage.repeats, 'iteration')} at most): ")
        + words.registration(stage.registration)
        for stage in stages
    )
