"""Conditional templates: who belongs to a stratum, and what its mean is."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regcore.errors import InputError
from regcore.groupwise import average, partial_sum
from regcore.image import Image
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import read_image, write_image
from regcore.resample import resample
from regcore.space import Grid
from regcore.study.config import Study
from regcore.study.dataset import describe_dataset, template_description
from regcore.study.manifest import good, grid_to_dict, write_manifest
from regcore.study.outputs import Layout
from regcore.study.settings import DatasetSettings, StrataSettings
from regcore.study.strata import scaled, stratum_template
from regcore.study.stratify import Stratum, rule_of_thumb, stratify
from regcore.transforms import Affine, Chain, Displacement

AGES = {"sub-1": 20.0, "sub-2": 30.0, "sub-3": 40.0, "sub-4": 60.0}
PEOPLE: dict[str, dict[str, Any]] = {
    key: {"age": age, "sex": "FM"[number % 2]} for number, (key, age) in enumerate(AGES.items())
}


def test_every_member_is_in_one_bin() -> None:
    strata = stratify(StrataSettings("age", bins=(20, 30, 60)), PEOPLE | {"sub-5": {"age": None}})
    assert [sorted(stratum.weights) for stratum in strata] == [["sub-1"], ["sub-2", "sub-3", "sub-4"]]
    assert strata[0].about == {"age": [20, 30]}


def test_groups_of_text() -> None:
    strata = stratify(StrataSettings("sex"), PEOPLE)
    assert {stratum.name: sorted(stratum.weights) for stratum in strata} == {
        "sex F": ["sub-1", "sub-3"],
        "sex M": ["sub-2", "sub-4"],
    }


def test_kernel_weights() -> None:
    (stratum,) = stratify(StrataSettings("age", at=(30,), bandwidth=10), PEOPLE)
    assert stratum.weights == pytest.approx(
        {"sub-1": math.exp(-0.5), "sub-2": 1, "sub-3": math.exp(-0.5), "sub-4": math.exp(-4.5)}
    )
    assert stratum.values == AGES
    (narrow,) = stratify(StrataSettings("age", at=(30,), bandwidth=2), PEOPLE)
    assert list(narrow.weights) == ["sub-2"]
    ruled = stratify(StrataSettings("age", at=(30,)), PEOPLE)[0].about["bandwidth"]
    quarters, spread = 45 - 27.5, np.std(list(AGES.values()), ddof=1)
    assert ruled == pytest.approx(0.9 * min(spread, quarters / 1.34) * 4**-0.2)
    assert ruled == rule_of_thumb(list(AGES.values()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "agee"}, r"expected a covariate of the cohort \(age, sex\), found agee"),
        ({"by": "age"}, "expected edges, or strata.at, for the numbers of age, found none"),
        ({"by": "sex", "at": (3,)}, "expected numbers for bins and kernels, found 'F'"),
        ({"by": "age", "bins": (0, 10)}, "expected a member from 0 to 10, found none"),
        ({"by": "age", "at": (90,), "bandwidth": 5}, "expected a member near 90"),
        ({"by": "age", "bins": (3, 2)}, "expected two or more rising edges, found 3, 2"),
    ],
)
def test_impossible_strata_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stratify(StrataSettings(**settings), PEOPLE)


def test_strata_in_a_configuration() -> None:
    config = {"cohort": {"source": "x"}, "targets": ["tables"]}
    study = Study.from_dict({**config, "strata": {"by": "age", "at": [3]}})
    assert study.strata == StrataSettings("age", at=(3,))
    with pytest.raises(InputError, match=r"config strata.bandwidth: expected more than 0, found 0"):
        Study.from_dict({**config, "strata": {"bandwidth": 0}})


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four published members: a ball, stretched and shifted on its way to the member, both with age."""
    root = tmp_path_factory.mktemp("strata")
    layout = Layout(root / "results")
    affine, wide = np.eye(4), np.eye(4)
    affine[:3, 3], wide[:3, 3] = -11.5, -40
    grid = Grid((24, 24, 24), affine)
    ball = (np.linalg.norm(grid.world_points(), axis=-1) < 7).astype(np.float32)
    entries = {}
    for key, age in AGES.items():
        field = np.zeros((*grid.shape, 3), np.float32)
        field[..., 1] = (age - 40) / 50
        stretch = Affine(np.diag([math.exp((age - 40) / 200), 1, 1, 1]))
        write_transform(layout.forward(key), Chain((stretch, Displacement(field, grid))), grid)
        write_image(layout.warped(key), Image(ball * np.float32(age / 100), grid))
        prepared = good(grid=grid_to_dict(Grid((80, 80, 80), wide)))
        write_manifest(root / "prepared" / key, {key: prepared})
        entries[key] = good(weight=1.0)
    write_manifest(root / "population", entries)
    write_image(layout.template_image, Image(ball * np.float32(0.4), grid))
    write_image(layout.template_mask, Image(ball.astype(np.uint8), grid))
    return root


def make(root: Path, stratum: Stratum) -> tuple[dict[str, Path], pd.Series]:
    layout = Layout(root / "results")
    prepared = [root / "prepared" / key for key in AGES]
    files, output = layout.stratum(stratum.number), root / "strata" / str(stratum.number)
    stratum_template(stratum, prepared, [root / "population"], files, output, layout)
    return files, pd.read_csv(output / "strata.tsv", sep="\t").iloc[0]


def test_template_at_an_age_has_the_mean_shape_of_that_age(population: Path) -> None:
    """Stretch and shift go with age: the weighted mean of both is that of the weighted mean age."""
    (stratum,) = stratify(StrataSettings("age", at=(30,), bandwidth=10), PEOPLE)
    files, row = make(population, stratum)
    weights = np.array([stratum.weights[key] for key in AGES])
    mean_age = float(np.average(list(AGES.values()), weights=weights))
    assert row["covariate_mean"] == pytest.approx(mean_age, rel=1e-5)
    assert row["effective_members"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-5)
    forth = read_transform(files["backward"])
    points = np.random.default_rng(0).uniform(-4, 4, (30, 3))
    expected = points + np.array([0, (mean_age - 40) / 50, 0])
    expected[:, 0] *= math.exp((mean_age - 40) / 200)
    np.testing.assert_allclose(forth(points), expected, atol=5e-3)
    np.testing.assert_allclose(read_transform(files["forward"])(forth(points)), points, atol=5e-3)
    assert row["mean_growth"] == pytest.approx((mean_age - 40) / 200, abs=1e-4)
    image = read_image(files["template"])
    assert image.data[12, 12, 12] == pytest.approx(mean_age / 100, abs=1e-4)
    # along x through its middle it is as wide as its mean age says
    line = np.diag([0.05, 1, 1, 1])
    line[:3, 3] = -10, (mean_age - 40) / 50, 0
    profile = resample(image, Grid((400, 1, 1), line), None).data.ravel()
    width = 0.05 * np.count_nonzero(profile > mean_age / 200)
    whole = resample(read_image(Layout(population / "results").template_image), Grid((400, 1, 1), line), None)
    own = 0.05 * np.count_nonzero(whole.data > 0.2)
    assert width / own == pytest.approx(math.exp((mean_age - 40) / 200), abs=0.02)


def test_a_stratum_of_everyone_is_their_mean(population: Path) -> None:
    (everyone,) = stratify(StrataSettings("age", bins=(0, 100)), PEOPLE)
    mean = sum(AGES.values()) / 4
    files, row = make(population, everyone)
    assert row["members"] == row["effective_members"] == 4
    assert row["mean_growth"] == pytest.approx((mean - 40) / 200, abs=1e-4)
    assert read_image(files["template"]).data.max() == pytest.approx(mean / 100, abs=1e-3)


def test_scaled_sums_average_with_their_weights() -> None:
    grid = Grid((3, 3, 3), np.eye(4))
    one, two = (Image(np.full(grid.shape, value, np.float32), grid) for value in (1, 5))
    maps = [Affine(np.diag([size, 1, 1, 1])) for size in (1.0, 2.0)]
    direct = partial_sum([one, two], None, maps, [0.25, 0.75])
    first, second = (partial_sum([image], None, [way]) for image, way in zip((one, two), maps, strict=True))
    both = scaled(first, 0.25).add(scaled(second, 0.75))
    np.testing.assert_allclose(average(both).data, average(direct).data)
    np.testing.assert_allclose(both.log_stretch, direct.log_stretch)
    assert both.total == direct.total


def test_nobody_usable_is_refused(population: Path) -> None:
    with pytest.raises(InputError, match="expected a usable member in sex X, found none"):
        make(population, Stratum(9, "sex X", {"sex": "X"}, {"sub-9": 1.0}, {"sub-9": "X"}))


def test_strata_are_valid_bids_and_cohorts_of_templateflow(
    population: Path, tmp_path: Path, bids_issues: Callable[[Path], list[dict[str, Any]]]
) -> None:
    strata = stratify(StrataSettings("age", bins=(20, 35, 60)), PEOPLE)
    for stratum in strata:
        make(population, stratum)
    results = tmp_path / "results"
    for stratum in strata:
        folder = f"tpl-Study/cohort-{stratum.number}"
        shutil.copytree(population / "results" / folder, results / folder)
    names = {"description": "dataset_description.json", "readme": "README.md", "ignore": ".bidsignore"}
    files = {key: results / name for key, name in names.items()}
    describe_dataset(files, "x", "Study", None, DatasetSettings(("A", "B")))
    assert [issue for issue in bids_issues(results) if issue["severity"] == "error"] == []
    image = read_image(population / "results" / "tpl-Study" / "tpl-Study_res-01_T1w.nii.gz")
    description = template_description("Study", 4, image, DatasetSettings(), strata)
    assert description["cohort"]["2"] == {"name": "age 35 to 60", "age": [35, 60]}
