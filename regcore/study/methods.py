"""The paragraph that a paper has about a study, written from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from regcore.io.tables import read_yaml
from regcore.qc.data import Methods
from regcore.qc.weights import MEASURES
from regcore.registration.settings import DeformableSettings, RegistrationSettings
from regcore.study.config import Study

_Cite = Callable[..., str]

REFERENCES = Path(__file__).with_name("references.yaml")
METRICS = {
    "ssd": "squared differences",
    "sad": "absolute differences",
    "ncc": "normalised cross-correlation",
    "lncc": "local normalised cross-correlation",
    "mi": "mutual information",
    "nmi": "normalised mutual information",
    "ecc": "the entropy correlation coefficient",
    "mind": "modality-independent neighbourhood descriptors",
}
MODELS = {
    "greedy": "a greedy diffeomorphic map",
    "displacement": "a displacement",
    "velocity": "the flow of a stationary velocity",
    "symmetric": "a symmetric diffeomorphic map",
}
ROUTES = {
    "direct": "registered to every image",
    "template": "carried to every image through the template",
    "template_library": "carried to every image through some of the members",
}
FUSIONS = {
    "majority": "majority vote",
    "local": "locally weighted voting",
    "staple": "STAPLE",
    "joint": "joint label fusion",
}


def describe_methods(study: Study, members: int, excluded: int, versions: Mapping[str, str]) -> Methods:
    """Paragraph and references of a study.

    Parameters
    ----------
    study : Study
    members : int
        Images that took part.
    excluded : int
        Members that weigh nothing in the template.
    versions : mapping
        Program or library to its version.

    Examples
    --------
    >>> stages = [{"name": "affine", "linear": [{"model": "affine", "metric": "mi"}]}]
    >>> study = Study.from_dict({"cohort": {"source": "a"}, "template": {"stages": stages}})
    >>> describe_methods(study, 12, 0, {"regcore": "0.1.0"}).text[:51]
    '12 images (T1w) were processed with regcore 0.1.0, '
    """
    references = read_yaml(REFERENCES)
    cited: list[str] = []

    def cite(*names: str) -> str:
        known = [name for name in names if name in references]
        cited.extend(name for name in known if name not in cited)
        numbers = ", ".join(str(cited.index(name) + 1) for name in known)
        return f" [{numbers}]" if known else ""

    def version(name: str) -> str:
        return f" {versions[name]}" if name in versions else ""

    lower, upper = study.prepare.winsorise_percent
    images = f"{_count(members, 'image')} ({study.cohort.suffix})"
    text = [
        f"{images} were processed with regcore{version('regcore')}, "
        f"run by Snakemake{version('snakemake')}{cite('snakemake')} on Python{version('Python')} with "
        f"NumPy{version('numpy')}, SciPy{version('scipy')} and Numba{version('numba')}{cite('numba')}.",
        "Intensities were "
        + (f"corrected for bias fields by N4{cite('n4')}, " if study.prepare.n4 else "")
        + f"cut at the {lower:g}th and {upper:g}th percentile of the foreground and scaled to a foreground "
        "median of 0.5.",
    ]
    if study.uses_template:
        text.append(
            "An unbiased template was built by repeatedly registering all images to their average and moving "
            f"the average to the mean shape{cite('template')}, in stages: "
            + "; ".join(
                f"{stage.name} ({_count(stage.repeats, 'iteration')} at most): "
                f"{_registration(stage.registration, cite)}"
                for stage in study.template.stages
                if stage.repeats
            )
            + ". A stage ended once the shape of the template moved by less than "
            f"{study.template.stop_mm:g} mm (RMS)."
        )
        text.append(_judging(study, excluded, cite))
        text.append(
            f"Each image was resampled once ({study.population.interpolation} interpolation) through its "
            "final transform; the template is their weighted mean. Log-Jacobian determinants are natural "
            "logarithms, above zero where a subject is larger than the template; relative ones leave the "
            "affine part out."
        )
    if "atlas" in study.targets:
        atlas = study.atlas
        text.append(
            f"Atlases were {ROUTES[atlas.route]}{cite(atlas.route)}, and their labels fused by "
            f"{FUSIONS[atlas.fusion]}{cite(atlas.fusion)}"
            + ("; each atlas was labelled by the others to state the accuracy" if atlas.validation else "")
            + "."
        )
    if "pairwise" in study.targets:
        text.append(f"Pairs of images were registered by {_registration(study.pairwise.registration, cite)}.")
    return Methods(" ".join(text), [(references[name][0], references[name][1]) for name in cited])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _judging(study: Study, excluded: int, cite: _Cite) -> str:
    settings = study.qc
    said = (
        "Registrations were judged by "
        + ", ".join(MEASURES[name].words for name in settings.measures)
        + f", as robust distances from the median of the cohort (median absolute deviation){cite('mad')}"
    )
    beyond = f"; members beyond {settings.threshold:g}"
    if settings.rule == "downweight":
        said += f"{beyond} weighed {settings.threshold:g} over their distance in the average{cite('huber')}."
    elif settings.rule == "exclude":
        said += f"{beyond} were left out of the average."
    else:
        said += "; all members weighed the same in the average."
    left = f" In all, {_count(excluded, 'member')} weighed nothing in the template." if excluded else ""
    return said + left


def _registration(settings: RegistrationSettings, cite: _Cite) -> str:
    parts = [f"{each.model} ({METRICS[each.metric]}{cite(each.metric)})" for each in settings.linear]
    deformable: DeformableSettings | None = settings.deformable
    if deformable is not None:
        parts.append(
            f"{MODELS[deformable.model]}{cite(deformable.model)} driven by {METRICS[deformable.metric]}"
            f"{cite(deformable.metric)}"
        )
    return ", then ".join(parts)
