"""How the text on methods says what was made of the registrations: maps, labels, change, tests."""

from __future__ import annotations

from regcore.study.config import Study
from regcore.study.designs import MAPS
from regcore.study.methods.words import Words, count, listed
from regcore.study.settings import AtlasSettings, DesignSettings

FUSIONS = {
    "majority": "majority vote",
    "local": "locally weighted voting",
    "staple": "STAPLE",
    "joint": "joint label fusion",
}
RESPONSES = {
    "logjac": "relative log-Jacobian determinants",
    "absolute_logjac": "absolute log-Jacobian determinants",
    "volume": "volumes of the label maps",
    "integrated_volume": "volumes integrated from the Jacobian determinants",
}


def on_population(study: Study, words: Words) -> str:
    """What is published of every member of a template."""
    width = study.morphometry.fwhm_mm
    size = "three voxels of the template" if width is None else f"{width:g} mm"
    smoothed = f"a Gaussian of {size} (full width at half maximum)"
    mean = "" if study.template.frozen else "; the template is the weighted mean of these images"
    return (
        f"Each image was resampled once ({study.population.interpolation} interpolation) through its final "
        f"transform, which was made free of folds both ways{mean}. Log-Jacobian determinants"
        f"{words.cite('jacobian')} are natural logarithms, above zero where a subject is larger than the "
        "template; relative ones leave out the affine map nearest to the whole transform. "
        + ("They were not smoothed." if width == 0 else f"They are given plain and smoothed by {smoothed}.")
    )


def on_strata(study: Study, words: Words) -> str:
    """Conditional templates."""
    settings = study.strata
    kinds = []
    if settings.bins:
        kinds.append(f"in bins with the edges {', '.join(f'{edge:g}' for edge in settings.bins)}")
    if settings.at:
        width = (
            f"{settings.bandwidth:g}"
            if settings.bandwidth
            else f"by Silverman's rule{words.cite('silverman')}"
        )
        at = ", ".join(f"{value:g}" for value in settings.at)
        kinds.append(
            f"near {at}, with weights of a Gaussian kernel (standard deviation {width}){words.cite('kernel')}"
        )
    return (
        f"Conditional templates are the mean intensity and mean shape of the members by {settings.by}: "
        f"{' and '.join(kinds) or 'one for each value'}. They were averaged from the final transforms, "
        "without another registration."
    )


def on_change(study: Study, words: Words) -> str:
    """What is followed over the sessions of a participant."""
    settings = study.sessions
    order = f"the order of {settings.order_by}" if settings.order_by else "the order of their identifiers"
    first = settings.baseline == "first"
    baseline = f"the first usable session in {order}" if first else f"session {settings.baseline}"
    still = all(stage.registration.deformable is None for stage in settings.stages) and {
        each.model for stage in settings.stages for each in stage.registration.linear
    } <= {"rigid", "translation"}
    source = (
        f"those of the first that has any, in {order}, were carried to the participant's other sessions"
        if settings.labels_from == "first"
        else "each was given the majority of those of the participant's other sessions"
    )
    said = (
        "Change was measured in the structures of the participant's template, by log-Jacobian determinants "
        f"and by volumes integrated from the determinants, since {baseline}"
        + ("; transforms within participants were rigid, so that they hold no growth" if still else "")
        + f". Where sessions have labels, {source}, through the transforms of both with one interpolation."
    )
    if settings.accumulate:
        kept = (
            "each point keeping its value"
            if settings.accumulation == "value"
            else "multiplied by the Jacobian determinant, so that integrals are kept"
        )
        said += (
            f" The sessions' maps of {settings.accumulate} were brought to the participant's template, "
            f"{kept}, and added up{words.cite('dose')}; the sums are stated by structure as cumulative "
            f"volume histograms and as D98, D95, D50 and D2{words.cite('icru')}."
        )
    return said


def on_atlas(study: Study, words: Words) -> str:
    """The ways of labels from atlases to the members, and their fusion."""
    atlas = study.atlas
    if atlas.route == "template":
        said = "Atlases were carried to every image through the template, by their transforms to it. "
    else:
        said = "Atlases were registered to every image"
        library = atlas.template_library
        number = library if isinstance(library, int) else len(library)
        if atlas.route == "template_library":
            said = f"Atlases were registered to {number} of the members, and these to every image"
        said += f"{words.cite(atlas.route)} by {words.registration(atlas.registration)}"
        said += ", starting from their transforms to the template. " if atlas.needs_template else ". "
    if atlas.table and atlas.needs_template:
        said += (
            "Atlases from outside the cohort were registered to the template by "
            f"{words.registration(atlas.library_registration)}. "
        )
    return said + (
        f"Their labels were fused by {FUSIONS[atlas.fusion]}{words.cite(atlas.fusion)}{_patches(atlas)}"
        + ("; each atlas was labelled by the others to state the accuracy" if atlas.validation else "")
        + "."
    )


def _patches(atlas: AtlasSettings) -> str:
    if atlas.fusion not in ("local", "joint"):
        return ""
    side, search = 2 * atlas.radius_vox + 1, count(atlas.search_vox, "voxel")
    said = f"patches of {side} voxels a side, search within {search}"
    return f" ({said}" + (f", α {atlas.alpha:g}, β {atlas.beta:g})" if atlas.fusion == "joint" else ")")


def on_pairs(study: Study, words: Words) -> str:
    """Pairs of images."""
    pairwise = study.pairwise
    kinds = ("chosen pairs of images" if pairwise.pairs else "", "all images to one reference")
    what = listed(filter(None, kinds if pairwise.reference else kinds[:1]))
    return f"Pairwise registrations, of {what}, were by {words.registration(pairwise.registration)}."


def on_statistics(study: Study, labelled: bool, words: Words) -> str:
    """The designs, and how they were tested in voxels and structures.

    Parameters
    ----------
    study : Study
    labelled : bool
        Whether the template has labels, so that structures are tested too.
    words : Words
    """
    designs = study.statistics.designs
    said = f"Statistics: {'; '.join(_design(name, each) for name, each in designs.items())}. "
    said += f"Design matrices were made by {words.named('formulaic')}. "
    if any(_response(each) in MAPS and each.random is None for each in designs.values()):
        said += _voxels(study, words)
    return (said + (_structures(study, words) if labelled else "")).strip()


def _design(name: str, design: DesignSettings) -> str:
    said = f"{name}, {RESPONSES[_response(design)]} ({design.formula}"
    said += "".join(f"; {factor} compared with {level}" for factor, level in design.reference.items())
    for contrast, weights in design.contrasts.items():
        terms = " ".join(f"{weight:+g} {column}" for column, weight in weights.items())
        said += f"; contrast {contrast}: {terms}"
    return said + (f"; random intercept for each {design.random})" if design.random else ")")


def _response(design: DesignSettings) -> str:
    return design.formula.split("~")[0].strip()


def _voxels(study: Study, words: Words) -> str:
    settings = study.statistics
    where = f"the {settings.mask} of the template"
    smoothed = "" if study.morphometry.fwhm_mm == 0 else ", smoothed as above,"
    said = (
        f"Log-Jacobian determinants{smoothed} were tested in every voxel of {where} by a general linear "
        f"model, two-sided, and the false discovery rate was controlled{words.cite('fdr')}. "
    )
    if settings.permutations:
        largest = "the largest |t|"
        if settings.clusters:
            largest += (
                " and of the largest threshold-free cluster enhancement (TFCE, E 0.5, H 2)"
                f"{words.cite('tfce')}"
            )
        said += (
            f"Family-wise corrected p-values are from the distribution of {largest} over "
            f"{count(settings.permutations, 'permutation')} of the residuals of the model without what is "
            f"tested, or of their signs where a mean is{words.cite('freedman_lane', 'permutation')}. "
        )
    return said


def _structures(study: Study, words: Words) -> str:
    designs = study.statistics.designs.values()
    models = []
    if any(each.random is None for each in designs):
        models.append("linear models by least squares")
    if any(each.random for each in designs):
        models.append("mixed models by restricted maximum likelihood")
    return (
        f"Measures of structures were tested by {listed(models)}, fitted by {words.named('statsmodels')}"
        f"{words.cite('statsmodels')}, with the false discovery rate controlled over structures"
        f"{words.cite('fdr')}; effect sizes are Cohen's d{words.cite('cohens_d')} and, in linear models, "
        "partial correlations, with 95 % confidence intervals."
    )
