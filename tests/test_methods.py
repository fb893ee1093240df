"""The text on methods says what a configuration asks for, cites it, and says nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from regcore.io.tables import read_yaml
from regcore.qc.data import Methods
from regcore.study.config import Study
from regcore.study.methods import describe_methods, libraries_of
from regcore.study.methods.words import REFERENCES

AFFINE = {"name": "affine", "linear": [{"model": "affine", "metric": "mi"}]}
FINE = {"name": "fine", "repeats": 3, "deformable": {"metric": "lncc"}}
RIGID = {"name": "rigid", "linear": [{"model": "rigid", "metric": "ncc"}]}
STAGES = [AFFINE, FINE]
COHORT = {"source": "a"}
AGEING = {"ageing": {"formula": "logjac ~ age"}}
MIXED = {"change": {"formula": "absolute_logjac ~ years", "random": "participant_id"}}


def methods_of(members: int = 12, excluded: int = 0, overrides: Any = (), **changed: Any) -> Methods:
    study = Study.from_dict({"cohort": COHORT, "template": {"stages": STAGES}, **changed})
    versions = dict.fromkeys(libraries_of(study), "9.9")
    return describe_methods(study, members, excluded, versions, sessions=30, overrides=overrides)


def template(**more: Any) -> dict[str, Any]:
    return {"template": {"stages": STAGES, **more}}


def sessions(**more: Any) -> dict[str, Any]:
    return {"targets": ["template", "sessions"], "sessions": {"stages": [RIGID], **more}}


def atlas(**more: Any) -> dict[str, Any]:
    return {"targets": ["template", "atlas"], "atlas": {"participants": ["1"], **more}}


def designed(designs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"targets": ["statistics"], "statistics": {"designs": designs, **more}}


def deformable(**more: Any) -> dict[str, Any]:
    return template(stages=[{"name": "fine", "deformable": {"metric": "ncc", **more}}])


# what is asked for, what the text then says, what it cites for that (names in references.yaml)
BRANCHES: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "n4": ({"prepare": {"n4": True}}, "bias fields by N4 of SimpleITK 9.9", ("n4",)),
    "brain only": ({"prepare": {"brain_only": True}}, "masks of the brain was set to 0", ()),
    "channels": (
        {"cohort": {**COHORT, "channels": {"T2w": {"weight": 0.5, "metric": "mind"}, "FLAIR": {}}}},
        "FLAIR (weight 1, the measure of the stage) images were matched together with the T1w images",
        ("mind",),
    ),
    "frozen": (
        template(frozen="old/tpl-Old", name="Old"),
        "registered to the published template tpl-Old, which was not changed, once in each stage: affine: ",
        (),
    ),
    "start": (
        template(start="old/tpl-Old"),
        "rebuilt from the published template tpl-Old. Images were first registered to it as it is, once in "
        "each stage: affine: affine (mutual information [3]); members that were part of it with the same "
        "image kept their transforms",
        (),
    ),
    "symmetric template": (template(symmetric=True), "together with its mirror image", ("mirror",)),
    "sessions": (sessions(), "first averaged into a template of their own", ("within",)),
    "order": (sessions(order_by="age"), "first usable session in the order of age", ()),
    "baseline": (sessions(baseline="2"), "since session 2", ()),
    "labels of all": (sessions(labels_from="all"), "the majority of those of the participant's other", ()),
    "dose": (
        sessions(accumulate="dose"),
        "maps of dose were brought to the participant's template, each point keeping its value, and added up",
        ("dose", "icru"),
    ),
    "amount": (
        sessions(accumulate="energy", accumulation="amount"),
        "multiplied by the Jacobian determinant, so that integrals are kept",
        ("dose", "icru"),
    ),
    "bins": ({"strata": {"by": "age", "bins": [20, 40]}}, "by age: in bins with the edges 20, 40.", ()),
    "groups": ({"strata": {"by": "sex"}}, "by sex: one for each value.", ()),
    "kernels": (
        {"strata": {"by": "age", "at": [30], "bandwidth": 5}},
        "near 30, with weights of a Gaussian kernel (standard deviation 5)",
        ("kernel",),
    ),
    "rule of thumb": (
        {"strata": {"by": "age", "at": [30]}},
        "(standard deviation by Silverman's rule",
        ("silverman", "kernel"),
    ),
    "velocity": (
        deformable(model="velocity", regulariser="bending", regularisation_weight=2),
        "regularised by bending energy [5] (weight 2)",
        ("velocity", "bending"),
    ),
    "elastic": (deformable(model="displacement", regulariser="elastic"), "linear elasticity", ("elastic",)),
    "smoothing": (
        {"morphometry": {"fwhm_mm": 4}},
        "smoothed by a Gaussian of 4 mm (full width at half maximum)",
        (),
    ),
    "no smoothing": ({"morphometry": {"fwhm_mm": 0}}, "They were not smoothed", ()),
    "exclude": ({"qc": {"rule": "exclude"}}, "beyond 3.5 were left out of the next average.", ()),
    "no rule": ({"qc": {"rule": "none"}}, "all members weighed the same in the average", ()),
    "few": ({"qc": {"fewest": 20}}, "Cohorts of fewer than 20 members are not judged: all members", ()),
    "staple": (atlas(fusion="staple"), "fused by STAPLE", ("staple",)),
    "joint": (atlas(), "(patches of 3 voxels a side, search within 2 voxels, α 0.1, β 2)", ("joint",)),
    "composed": (atlas(route="template"), "carried to every image through the template", ()),
    "library": (
        atlas(route="template_library"),
        "registered to 5 of the members, and these to every image",
        ("template_library",),
    ),
    "foreign atlases": (atlas(table="t.tsv"), "Atlases from outside the cohort were registered to the", ()),
    "pairwise": (
        {"targets": ["pairwise"], "pairwise": {"reference": "1", "pairs": "pairs.tsv"}},
        "Pairwise registrations, of chosen pairs of images and all images to one reference, were by rigid",
        (),
    ),
    "formula": (designed(AGEING), "ageing, relative log-Jacobian determinants (logjac ~ age)", ()),
    "contrast": (
        designed(
            {
                "groups": {
                    "formula": "volume ~ C(group)",
                    "reference": {"group": "control"},
                    "contrasts": {"aMinusB": {"group[A]": 1, "group[B]": -1}},
                }
            }
        ),
        "group compared with control; contrast aMinusB: +1 group[A] -1 group[B]",
        ("statsmodels",),
    ),
    "voxels": (
        designed(AGEING),
        "smoothed as above, were tested in every voxel of the foreground",
        ("fdr", "tfce", "freedman_lane", "permutation"),
    ),
    "permutations": (designed(AGEING, permutations=77), "over 77 permutations of", ("permutation",)),
    "mixed": (
        designed(MIXED),
        "mixed models by restricted maximum likelihood, fitted by statsmodels 9.9",
        ("statsmodels", "fdr"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BRANCHES)
def test_a_setting_is_said_and_cited(name: str) -> None:
    changed, words, cited = BRANCHES[name]
    found = methods_of(**changed)
    assert words in found.text
    known = read_yaml(REFERENCES)
    assert {known[each][1] for each in cited} <= {doi for _, doi in found.references}


def test_what_is_not_asked_for_is_not_said() -> None:
    found = methods_of()
    known = read_yaml(REFERENCES)
    asked = {
        known[each][1]
        for each in ("snakemake", "numba", "mean_shape", "mi", "greedy", "lncc", "mad", "huber", "jacobian")
    }
    assert {doi for _, doi in found.references} == asked
    for name, (_, words, _) in BRANCHES.items():
        assert words not in found.text, name
    for word in ("published template", "session", "modality", "mirror", "Conditional", "Atlas", "Statistics"):
        assert word not in found.text


def test_citations_are_numbered_in_the_order_of_the_text() -> None:
    every = {
        **sessions(accumulate="dose"), **atlas(route="template_library", table="t"),
        **designed({**AGEING, **MIXED}), "pairwise": {"reference": "1"}, "prepare": {"n4": True},
        "strata": {"by": "age", "at": [30]},
        "cohort": {**COHORT, "channels": {"T2w": {"metric": "nmi"}}},
        **template(symmetric=True, start="tpl-A"),
        "targets": ["template", "sessions", "atlas", "pairwise", "statistics"],
    }  # fmt: skip
    for methods in (methods_of(), methods_of(**every)):
        cited = [
            int(n) for group in re.findall(r"\[(\d+(?:, \d+)*)\]", methods.text) for n in group.split(", ")
        ]
        assert list(dict.fromkeys(cited)) == list(range(1, len(methods.references) + 1))
        assert len({doi for _, doi in methods.references}) == len(methods.references)
    assert methods.text.count("\n\n") == 4


def test_a_template_is_called_unbiased_only_where_it_is_built() -> None:
    assert "An unbiased template was built" in methods_of().text
    assert "fine (3 iterations at most): a greedy diffeomorphic map" in methods_of().text
    frozen = methods_of(**template(frozen="old/tpl-Old", name="Old"))
    for word in ("unbiased", "at most", "weighted mean", "A stage ended", "next average"):
        assert word not in frozen.text
    assert "in the variance over members" in frozen.text
    few = methods_of(members=3, **template(frozen="old/tpl-Old", name="Old"))
    assert "not judged: all members weighed the same in the variance over members." in few.text
    assert not any("Guimond" in reference for reference, _ in frozen.references)


def test_rules_without_weights_do_not_cite_them() -> None:
    for rule, doi in (("exclude", "huber"), ("none", "mad")):
        found = methods_of(qc={"rule": rule})
        assert read_yaml(REFERENCES)[doi][1] not in {each for _, each in found.references}


def test_sessions_are_counted_apart_from_participants() -> None:
    found = methods_of(members=5, **sessions())
    assert found.text.startswith("30 sessions (T1w) of 5 participants were processed")
    assert "sessions of participants with at least 6 sessions beyond 3.5 weighed" in found.text
    assert "Cohorts of fewer than 6 members are not judged" in found.text
    assert "transforms within participants were rigid" in found.text
    growing = methods_of(**sessions(stages=[RIGID, FINE]))
    assert "were rigid" not in growing.text


def test_decisions_of_people_are_counted() -> None:
    retry = {"keys": ["sub-2", "sub-3"], "action": "retry", "preset": "mouse"}
    rows = [{"keys": ["sub-1"], "action": "exclude", "preset": ""}, retry]
    found = methods_of(excluded=1, overrides=rows)
    assert "1 member was excluded and 2 members were registered with the preset mouse" in found.text
    assert "1 member weighed nothing" in found.text


def test_voxels_are_tested_only_where_the_design_has_maps() -> None:
    mixed = methods_of(**designed(MIXED)).text
    assert "every voxel" not in mixed
    assert "permutation" not in mixed
    few = methods_of(**designed(AGEING, permutations=0)).text
    assert "every voxel" in few
    assert "Family-wise" not in few
    plain = methods_of(**designed(AGEING, clusters=False))
    assert "TFCE" not in plain.text
    assert not any("Smith" in reference for reference, _ in plain.references)


def test_structures_are_tested_only_with_labels() -> None:
    study = Study.from_dict({"cohort": COHORT, "template": {"stages": STAGES}, **designed(AGEING)})
    found = describe_methods(study, 12, 0, {}, labelled=False)
    assert "statsmodels" not in found.text
    assert not any("statsmodels" in reference.lower() for reference, _ in found.references)


def test_every_reference_is_cited_by_some_setting() -> None:
    settings: list[dict[str, Any]] = [changed for changed, _, _ in BRANCHES.values()]
    settings += [
        deformable(model="displacement", regulariser=name) for name in ("diffusion", "total_variation")
    ]
    settings += [template(stages=[{"name": "a", "linear": [{"metric": name}]}]) for name in ("nmi", "ecc")]
    settings += [atlas(fusion=name) for name in ("majority", "local")]
    cited = {doi for changed in (*settings, {}) for _, doi in methods_of(**changed).references}
    assert cited == {doi for _, doi in read_yaml(REFERENCES).values()}


def test_libraries_are_those_that_are_used() -> None:
    plain = libraries_of(Study.from_dict({"cohort": COHORT, "targets": ["tables"]}))
    assert not {"SimpleITK", "statsmodels", "formulaic"} & set(plain)
    asked = {"cohort": COHORT, "template": {"stages": STAGES}, "prepare": {"n4": True}, **designed(AGEING)}
    assert {"SimpleITK", "statsmodels", "formulaic"} <= set(libraries_of(Study.from_dict(asked)))
