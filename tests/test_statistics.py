"""Designs, models and permutations against other libraries, slow references and what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as models
import statsmodels.formula.api as formulas

from regcore.errors import InputError
from regcore.kernels.enhance import enhance, face_neighbours
from regcore.kernels.parallel import set_threads
from regcore.kernels.smooth import gaussian_smooth
from regcore.statistics import (
    build_contrasts,
    build_design,
    cohens_d,
    fit_contrast,
    parse_formula,
    permute,
    structure_models,
)

PEOPLE = pd.DataFrame(
    {
        "age": [20.0, 31, 44, 52, 67, 71, 38, 59, 26, 63, 48, 35],
        "sex": list("MFMFFMMFMFFM"),
        "group": list("AABBCCAABBCC"),
        "site": [1, 1, 1, 2, 2, 2, 3, 3, 3, 1, 2, 3],
    }
)


def noise(count: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    """Smooth noise of standard deviation 1, a row a map."""
    generator = np.random.default_rng(seed)
    maps = [
        gaussian_smooth(generator.normal(size=shape).astype(np.float32), 1.2).ravel() for _ in range(count)
    ]
    return np.stack(maps) / np.std(maps)


@pytest.mark.parametrize(
    "formula",
    [
        "logjac ~ __import__('os').system('true')",
        "logjac ~ age + I(age**2)",
        "logjac ~ np.log(age)",
        "logjac ~ C(group, Treatment('B'))",
        "logjac ~ age - 1",
        "logjac ~ age + 2",
        "logjac ~ 1:age",
        "logjac ~ {age}",
        "logjac ~ `age`",
        "logjac ~ age ~ sex",
        "logjac ~ age.real",
        "logjac ~ ",
        "age + sex",
        "log(jac) ~ age",
    ],
)
def test_only_the_small_grammar_is_read(formula: str) -> None:
    with pytest.raises(InputError, match=r"^formula: expected [^\n]*$"):
        parse_formula(formula)


@pytest.mark.parametrize(
    ("formula", "people", "message"),
    [
        ("y ~ weight", PEOPLE, r"covariates of the cohort \(age, sex, group, site\), found 'weight'"),
        ("y ~ sex", PEOPLE.assign(sex="F"), "expected sex to vary, found F in everyone"),
        ("y ~ age + twice", PEOPLE.assign(twice=2 * PEOPLE["age"]), "twice follows from Intercept, age"),
        ("y ~ sex + other", PEOPLE.assign(other=PEOPLE["sex"].str.lower()), "rank-deficient"),
        ("y ~ sex * group", PEOPLE.head(8), "expected at least|rank-deficient"),
        ("y ~ age", PEOPLE.head(4), "expected at least 5 participants with all covariates for 2 columns"),
        (
            "y ~ age",
            PEOPLE.assign(age=np.nan),
            "expected at least 4 participants with all covariates, found 0",
        ),
    ],
)
def test_designs_that_cannot_work_are_refused(formula: str, people: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_design(parse_formula(formula), people)


def test_a_design_is_what_statsmodels_makes_of_the_same_formula() -> None:
    text = "age * sex + C(site) + group"
    design = build_design(parse_formula(f"logjac ~ {text}"), PEOPLE)
    other = formulas.ols(f"age ~ {text}", PEOPLE)
    names = [name.replace("C(site)", "site").replace("[T.", "[") for name in other.exog_names]
    assert sorted(design.columns) == sorted(names)
    matrix = pd.DataFrame(other.exog, columns=names)[list(design.columns)]
    np.testing.assert_array_equal(design.matrix, matrix)


def test_the_reference_level_is_chosen_and_who_lacks_a_value_is_listed() -> None:
    people = PEOPLE.assign(age=PEOPLE["age"].where(PEOPLE["age"] != 44))
    people.loc[4, ["age", "group"]] = [np.nan, None]
    design = build_design(parse_formula("y ~ age + group"), people, {"group": "B"})
    assert design.columns == ("Intercept", "age", "group[A]", "group[C]")
    assert design.left_out == {2: "age is missing", 4: "age, group is missing"}
    with pytest.raises(InputError, match=r"a level of group \(A, B, C\), found 'Z'"):
        build_design(parse_formula("y ~ group"), PEOPLE, {"group": "Z"})
    numbers = build_design(parse_formula("y ~ 0 + C(site)"), PEOPLE)
    assert numbers.columns == ("site[1]", "site[2]", "site[3]")


def test_contrasts_name_columns_of_the_design() -> None:
    with pytest.raises(InputError, match=r"contrasts.x: expected columns of the design \(Intercept, age\)"):
        build_contrasts(["Intercept", "age"], {"x": {"sex": 1}})
    with pytest.raises(InputError, match="contrasts: expected names"):
        build_contrasts(["Intercept", "g[a b]", "g[ab]"])
    with pytest.raises(InputError, match="weight other than 0"):
        build_contrasts(["Intercept", "age"], {"x": {"age": 0}})


def test_every_voxel_is_fitted_as_statsmodels_fits_it() -> None:
    design = build_design(parse_formula("y ~ age + sex + group"), PEOPLE)
    values = noise(12, (4, 3, 2))
    weights = np.array([0.0, 0.02, 1.0, -1.0, 0.5])
    fit = fit_contrast(design.matrix, values, weights)
    for voxel in range(values.shape[1]):
        test = models.OLS(values[:, voxel].astype(np.float64), design.matrix).fit().t_test(weights)
        assert fit.effect[voxel] == pytest.approx(test.effect.item(), rel=1e-4, abs=1e-5)
        assert fit.t[voxel] == pytest.approx(test.tvalue.item(), rel=1e-4, abs=1e-4)
        assert fit.p[voxel] == pytest.approx(test.pvalue.item(), rel=1e-3)
    assert (fit.q >= fit.p - 1e-12).all()
    constant = fit_contrast(design.matrix, np.full((12, 2), 0.3, np.float32), weights)
    assert constant.t.tolist() == [0, 0]


def slow_enhancement(values: np.ndarray[Any, Any], steps: int = 4000) -> np.ndarray[Any, Any]:
    """TFCE by adding up many small steps."""
    from scipy.ndimage import label

    out = np.zeros(values.shape)
    for sign in (1, -1):
        heights, step = np.linspace(0, np.abs(values).max(), steps, endpoint=False, retstep=True)
        for height in heights + step / 2:
            found, _ = label(sign * values >= height)
            extent = np.bincount(found.ravel())
            extent[0] = 0
            out += sign * np.sqrt(extent[found]) * height**2 * step
    return out


def test_enhancement_agrees_with_adding_up_steps() -> None:
    volume = noise(1, (9, 8, 7))[0].reshape(9, 8, 7) * 3
    inside = np.ones(volume.shape, np.bool_)
    inside[:2, 3] = False
    volume[~inside] = 0
    volume[4, 4, 4] = volume[4, 4, 5]  # equal heights
    found = enhance(volume[inside][None].astype(np.float32), face_neighbours(inside))[0]
    slow = slow_enhancement(volume)[inside]
    np.testing.assert_allclose(found, slow, rtol=2e-3, atol=2e-3 * np.abs(slow).max())


def test_enhancement_agrees_with_nilearn() -> None:
    nilearn = pytest.importorskip("nilearn.mass_univariate._utils", reason="nilearn is not installed")
    volume = noise(1, (10, 9, 8), seed=3)[0].reshape(10, 9, 8) * 3
    inside = np.ones(volume.shape, np.bool_)
    from scipy.ndimage import generate_binary_structure

    step = np.abs(volume).max() / 900
    faces = generate_binary_structure(3, 1)
    other = nilearn.calculate_tfce(volume[..., None].astype(np.float64), faces, dh=step)[..., 0] * step
    found = enhance(volume.reshape(1, -1), face_neighbours(inside))[0]
    np.testing.assert_allclose(found, other.ravel(), atol=4e-3 * np.abs(other).max())


def test_permutations_have_the_same_bits_on_any_number_of_threads() -> None:
    design = build_design(parse_formula("y ~ age + sex"), PEOPLE)
    values, neighbours = noise(12, (9, 9, 9)), face_neighbours(np.ones((9, 9, 9), np.bool_))
    found = []
    for threads in (1, 2):
        set_threads(threads)
        found.append(permute(design.matrix, values, np.array([0.0, 1, 0]), 20, neighbours))
    set_threads(0)
    first, second = found
    np.testing.assert_array_equal(first.largest_t, second.largest_t)
    np.testing.assert_array_equal(first.largest_enhanced, second.largest_enhanced)


def test_the_observed_permutation_is_the_fit() -> None:
    design = build_design(parse_formula("y ~ age + group"), PEOPLE)
    values, weights = noise(12, (5, 5, 5)), np.array([0.0, 0, 1, -1])
    fit = fit_contrast(design.matrix, values, weights)
    found = permute(design.matrix, values, weights, 50)
    assert found.largest_t[0] == pytest.approx(np.abs(fit.t).max(), rel=1e-3)
    # the larger the t, the smaller the p
    order = np.argsort(np.abs(fit.t))
    assert (np.diff(found.p_t[order]) <= 1e-12).all()


def test_a_mean_is_tested_by_changing_signs() -> None:
    values = noise(10, (4, 4, 4)).astype(np.float32)
    values[:, 5] += 4
    found = permute(np.ones((10, 1)), values, np.array([1.0]), 199)
    assert np.flatnonzero(found.p_t < 0.05).tolist() == [5]


def test_permuted_groups_give_the_nominal_rate_of_false_positives() -> None:
    """200 data sets without an effect: the family-wise error at 0.05 lies in its 99.9 % binomial interval."""
    shape = (7, 7, 7)
    neighbours = face_neighbours(np.ones(shape, np.bool_))
    generator = np.random.default_rng(7)
    age = generator.uniform(20, 80, 16)
    false_t = false_e = 0
    alone = []
    for run in range(200):
        group = generator.permutation(np.repeat([0.0, 1.0], 8))
        matrix = np.stack([np.ones(16), group, age], axis=1)
        # a nuisance that matters must not matter to the test
        values = (noise(16, shape, seed=run) + 0.03 * age[:, None]).astype(np.float32)
        found = permute(matrix, values, np.array([0.0, 1, 0]), 59, neighbours, seed=run)
        assert found.p_enhanced is not None
        false_t += bool(found.p_t.min() <= 0.05)
        false_e += bool(found.p_enhanced.min() <= 0.05)
        alone.append((fit_contrast(matrix, values, np.array([0.0, 1, 0])).p <= 0.05).mean())
    assert 2 <= false_t <= 22
    assert 2 <= false_e <= 22
    assert np.mean(alone) == pytest.approx(0.05, abs=0.012)


def test_structures_are_fitted_as_statsmodels_fits_them() -> None:
    generator = np.random.default_rng(2)
    measures = pd.DataFrame(
        {1: 3 + 0.02 * PEOPLE["age"] + generator.normal(size=12), 2: generator.normal(size=12)}
    )
    measures.loc[3, 2] = np.nan
    design = build_design(parse_formula("y ~ age + sex"), PEOPLE)
    table = structure_models(measures, design, build_contrasts(design.columns)).set_index(
        ["structure", "contrast"]
    )
    for structure in (1, 2):
        other = formulas.ols("y ~ age + sex", PEOPLE.assign(y=measures[structure])).fit()
        for contrast, name in (("age", "age"), ("sexM", "sex[T.M]")):
            row = table.loc[(structure, contrast)]
            assert row["effect"] == pytest.approx(other.params[name])
            assert row["p"] == pytest.approx(other.pvalues[name])
            assert [row["effect_low"], row["effect_high"]] == pytest.approx(
                other.conf_int().loc[name].tolist()
            )
            assert (
                row["partial_correlation_low"] < row["partial_correlation"] < row["partial_correlation_high"]
            )
    assert table.loc[(2, "age"), "members"] == 11


def test_cohens_d_of_two_groups_is_the_textbook_one_and_its_interval_covers() -> None:
    people = pd.DataFrame({"group": ["a"] * 12 + ["b"] * 12})
    design = build_design(parse_formula("y ~ group"), people)
    contrasts = build_contrasts(design.columns)
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        sample = generator.normal(size=24) + 0.8 * (people["group"] == "b")
        row = structure_models(pd.DataFrame({"s": sample}), design, contrasts).iloc[0]
        covered += row["cohens_d_low"] <= 0.8 <= row["cohens_d_high"]
    first, second = sample[:12], sample[12:]
    pooled = np.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 2)
    assert row["cohens_d"] == pytest.approx((second.mean() - first.mean()) / pooled)
    assert 0.91 <= covered / 300 <= 0.99
    assert np.isfinite(cohens_d(500.0, 4, 0.5)).all()


def test_a_mixed_model_finds_what_a_linear_one_misses() -> None:
    generator = np.random.default_rng(4)
    people = pd.DataFrame({"age": np.tile([0.0, 1, 2], 10) + np.repeat(generator.uniform(20, 60, 10), 3)})
    person = np.repeat(np.arange(10), 3)
    own = np.repeat(generator.normal(scale=500, size=10), 3)
    measures = pd.DataFrame(
        {"s": 9000 + own + 60 * np.tile([0.0, 1, 2], 10) + generator.normal(scale=8, size=30)}
    )
    people["within"] = np.tile([0.0, 1, 2], 10)
    design = build_design(parse_formula("y ~ within"), people)
    mixed = structure_models(measures, design, build_contrasts(design.columns), person.tolist()).iloc[0]
    linear = structure_models(measures, design, build_contrasts(design.columns)).iloc[0]
    assert mixed["model"] == "mixed"
    assert mixed["effect"] == pytest.approx(60, abs=6)
    assert mixed["p"] < 1e-6
    assert linear["p"] > 0.05
    other = models.MixedLM(measures["s"], design.matrix, groups=person).fit()
    assert mixed["effect"] == pytest.approx(other.params.iloc[1], rel=1e-3)
    assert mixed["standard_error"] == pytest.approx(other.bse.iloc[1], rel=0.02)
