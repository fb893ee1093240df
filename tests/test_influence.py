"""Leave-one-out influence of members on the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regcore.errors import InputError
from regcore.groupwise import average, leave_one_out, partial_sum, without
from regcore.image import Image
from regcore.qc.cohort_plots import influence_figure
from regcore.space import Grid
from regcore.study.influence import COLUMNS
from regcore.transforms import Affine, Chain, Displacement

GRID = Grid((10, 11, 12), np.diag([2.0, 1.0, 1.5, 1.0]))
INSIDE = Image(np.pad(np.ones((6, 7, 8), np.uint8), 2), GRID)


def cohort(count: int) -> tuple[list[Image], list[Image], list[Chain]]:
    rng = np.random.default_rng(5)
    images = [Image(rng.random(GRID.shape, np.float32), GRID) for _ in range(count)]
    seen = [Image((rng.random(GRID.shape) > 0.1).astype(np.float32), GRID) for _ in range(count)]
    maps = []
    for _ in range(count):
        zoom = Affine(np.diag([*np.exp(rng.normal(0, 0.1, 3)), 1.0]))
        maps.append(
            Chain((zoom, Displacement(rng.normal(0, 0.5, (*GRID.shape, 3)).astype(np.float32), GRID)))
        )
    return images, seen, maps


def test_what_is_left_is_the_sum_of_the_others() -> None:
    images, seen, maps = cohort(5)
    weights = [1.0, 0.5, 1.0, 2.0, 1.0]
    total = partial_sum(images, seen, maps, weights)
    part = partial_sum(images[1:2], seen[1:2], maps[1:2], weights[1:2])
    others = [0, 2, 3, 4]
    rest = partial_sum(*([items[i] for i in others] for items in (images, seen, maps, weights)))
    found = without(total, part)
    assert (found.count, found.total) == (rest.count, rest.total)
    np.testing.assert_allclose(average(found).data, average(rest).data, atol=1e-5)
    assert found.displacement is not None
    assert rest.displacement is not None
    np.testing.assert_allclose(found.displacement, rest.displacement, atol=1e-5)
    np.testing.assert_allclose(found.log_stretch, rest.log_stretch, atol=1e-12)


def test_influence_of_a_known_member() -> None:
    """Nine equal members and one that is brighter, shifted and larger: the changes follow by hand."""
    rest = Displacement(np.zeros((*GRID.shape, 3), np.float32), GRID)
    shift = Displacement(np.broadcast_to(np.float32([0, 0, 3]), (*GRID.shape, 3)).copy(), GRID)
    images = [Image(np.full(GRID.shape, 1, np.float32), GRID)] * 9
    odd = Image(np.full(GRID.shape, 2, np.float32), GRID)
    same = Affine(np.eye(4))
    large = Affine(np.diag([np.exp(0.9), 1, 1, 1]))
    maps = [Chain((same, rest))] * 9 + [Chain((large, shift))]
    total = partial_sum([*images, odd], None, maps)
    part = partial_sum([odd], None, maps[9:])
    found = leave_one_out(total, part, INSIDE)
    assert found["rms_intensity_change"] == pytest.approx(0.1, rel=1e-5)
    assert found["relative_intensity_change"] == pytest.approx(0.1 / 1.1, rel=1e-5)
    assert found["rms_displacement_change_mm"] == pytest.approx(3 * 1.5 / 10, rel=1e-5)
    # 0.09 times the distance from the middle along x: six voxels of 2 mm, RMS sqrt(35 / 12) of them
    assert found["rms_stretch_change_mm"] == pytest.approx(0.09 * 2 * np.sqrt(35 / 12), rel=1e-6)
    ordinary = leave_one_out(total, partial_sum(images[:1], None, maps[:1]), INSIDE)
    assert ordinary["rms_intensity_change"] == pytest.approx(0.1 / 9, rel=1e-4)
    assert ordinary["rms_displacement_change_mm"] == pytest.approx(0.45 / 9, rel=1e-4)


def test_nobody_left_is_refused() -> None:
    images, seen, maps = cohort(1)
    total = partial_sum(images, seen, maps)
    with pytest.raises(InputError, match="expected members to be left, found 1 of 1 left out"):
        without(total, total)
    with pytest.raises(InputError, match="expected voxels above 0"):
        leave_one_out(total, total, Image(np.zeros(GRID.shape, np.uint8), GRID))


def test_influence_of_a_study(finished: Path) -> None:
    """The published files alone tell what the sums of the build say."""
    rows = pd.read_csv(finished / "work" / "influence" / "all" / "influence.tsv", sep="\t")
    assert rows["member"].tolist() == ["sub-1", "sub-2", "sub-3"]
    assert rows[COLUMNS].gt(0).all(axis=None)
    assert rows["relative_intensity_change"].max() < 0.2


def test_figure_names_the_one_that_pulls() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0.01, 0.02, (30, len(COLUMNS))), columns=COLUMNS)
    frame.insert(0, "participant_id", [f"sub-{number:02d}" for number in range(30)])
    frame.loc[7, COLUMNS] = 0.1
    assert influence_figure(frame)[:4] == b"\x89PNG"
