"""The text of a paper on the methods of a study, paragraph by paragraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regcore.qc.data import Methods
from regcore.registration.settings import RegistrationSettings
from regcore.registration.stages import RESTRICTED
from regcore.study.config import Study
from regcore.study.methods.results import (
    on_atlas,
    on_change,
    on_pairs,
    on_population,
    on_statistics,
    on_strata,
)
from regcore.study.methods.template import on_channels, on_sessions, on_template, on_weights
from regcore.study.methods.words import Words, count, listed

ENGINE = ("NumPy", "SciPy", "Numba", "NiBabel", "pandas")


def describe_methods(
    study: Study,
    members: int,
    excluded: int,
    versions: Mapping[str, str],
    *,
    sessions: int = 0,
    labelled: bool = True,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> Methods:
    """Paragraphs and references of a study.

    Parameters
    ----------
    study : Study
    members : int
        Images, or participants with sessions, that took part.
    excluded : int
        Members that weigh nothing in the template.
    versions : mapping
        Program or library to its version.
    sessions : int
        Sessions that took part, where those of a participant are one member.
    labelled : bool
        Whether the template has labels.
    overrides : sequence of mapping
        Decisions of a person: `keys` of the members, `action`, `preset`.

    Examples
    --------
    >>> stages = [{"name": "affine", "linear": [{"model": "affine", "metric": "mi"}]}]
    >>> study = Study.from_dict({"cohort": {"source": "a"}, "template": {"stages": stages}})
    >>> describe_methods(study, 12, 0, {"regcore": "0.1.0"}).text[:51]
    '12 images (T1w) were processed with regcore 0.1.0, '
    """
    words = Words(versions)
    targets, template = study.targets, study.uses_template
    averaged = template or study.uses_sessions
    # in the order of the text, which is that of the numbers of the references
    paragraphs = [
        [
            _prepared(study, members, sessions, words),
            on_channels(study, words) if study.cohort.channels and averaged else "",
        ],
        [
            on_sessions(study, words) if study.uses_sessions else "",
            on_template(study, words) if template else "",
            on_weights(study, members, excluded, overrides, words) if averaged else "",
            _retried(study) if averaged else "",
        ],
        [
            on_population(study, words) if template else "",
            on_strata(study, words) if template and study.strata.by else "",
            on_change(study, words) if study.uses_sessions else "",
        ],
        [
            on_atlas(study, words) if "atlas" in targets else "",
            on_pairs(study, words) if "pairwise" in targets else "",
            "" if averaged else _retried(study),
        ],
        [on_statistics(study, labelled, words) if "statistics" in targets else ""],
    ]
    said = (" ".join(filter(None, sentences)) for sentences in paragraphs)
    return Methods("\n\n".join(filter(None, said)), words.cited)


def _prepared(study: Study, members: int, sessions: int, words: Words) -> str:
    suffix, settings = study.cohort.suffix, study.prepare
    images = f"{count(members, 'image')} ({suffix})"
    if study.uses_sessions:
        images = f"{count(sessions, 'session')} ({suffix}) of {count(members, 'participant')}"
    lower, upper = settings.winsorise_percent
    return (
        f"{images} were processed with {words.named('regcore')}, run by {words.named('Snakemake')}"
        f"{words.cite('snakemake')} on {words.named('Python')} with "
        f"{listed(words.named(name) + words.cite(name.lower()) for name in ENGINE)}. Intensities were "
        + (
            f"corrected for bias fields by N4 of {words.named('SimpleITK')}{words.cite('n4')}, "
            if settings.n4
            else ""
        )
        + f"cut at the {lower:g}th percentile of the image and the {upper:g}th of its foreground, and "
        "scaled to range from 0 to 1 with a foreground median of 0.5."
        + (" What lies outside the masks of the brain was set to 0." if settings.brain_only else "")
    )


def _retried(study: Study) -> str:
    """When a linear registration was tried again."""
    atlas = study.atlas
    used: list[RegistrationSettings] = []
    for asked, stages in (
        (study.uses_sessions, study.sessions.iterations),
        (study.uses_template, study.template.iterations),
    ):
        used += [stage.registration for stage in stages] if asked else []
    if "atlas" in study.targets:
        used += [atlas.registration] if atlas.route != "template" else []
        used += [atlas.library_registration] if atlas.table and atlas.needs_template else []
    used += [study.pairwise.registration] if "pairwise" in study.targets else []
    limits = {
        (each.scale_limit, each.shear_limit)
        for registration in used
        for each in registration.linear
        if each.model in RESTRICTED
    }
    if not limits:
        return ""
    found = listed(
        f"scaled by more than {scale:g} or sheared by more than {shear:g}" for scale, shear in sorted(limits)
    )
    return (
        f"Linear registrations that {found} were tried again with simpler models, and from other "
        "starts where none was known."
    )
