from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from regcore.errors import InputError
from regcore.image import Image
from regcore.morphometry import (
    log_jacobian,
    log_size,
    smooth_map,
    structure_jacobians,
    structure_volumes,
    volume_agreement,
)
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement

GRID = Grid((20, 18, 16), np.array([[0, -2.0, 0, 5], [1.0, 0, 0, -3], [0, 0, 1.5, 1], [0, 0, 0, 1]]))


def growth(rate: float) -> Displacement:
    """Expansion by ``1 + rate`` along every voxel axis about the middle of the grid."""
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij"), axis=-1)
    return Displacement((rate * (voxels - (np.array(GRID.shape) - 1) / 2)).astype(np.float32), GRID)


def swelling(strength: float, radius_mm: float = 6.0) -> tuple[Displacement, Image, Image]:
    """A known growth: ``x -> c + (x - c) g(r)`` with ``g = 1 + strength exp(-(r / radius)^2)``.

    Its determinant is ``g^2 (g + r g')``. Returned with that map's logarithm and a ball around its middle.
    """
    shape = (41, 41, 41)
    grid = Grid(shape, np.diag([0.75, 0.75, 0.75, 1.0]))
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    away = (voxels - 20.0) * 0.75
    r = np.sqrt((away**2).sum(axis=-1))
    bump = strength * np.exp(-((r / radius_mm) ** 2))
    slope = -2 * r / radius_mm**2 * bump
    field = Displacement((bump[..., None] * away / 0.75).astype(np.float32), grid)
    truth = np.log((1 + bump) ** 2 * (1 + bump + r * slope))
    return field, Image(truth.astype(np.float32), grid), Image((r < 12).astype(np.uint8), grid)


def test_larger_subject_is_positive() -> None:
    subject = Chain((Affine(np.diag([1.2, 1.1, 1.0, 1.0])), growth(0.1)))
    inner = (slice(2, -2),) * 3
    absolute = log_jacobian(subject, GRID)
    np.testing.assert_allclose(absolute.data[inner], 3 * np.log(1.1) + np.log(1.32), atol=1e-4)
    assert absolute.data.dtype == np.float32


def test_relative_leaves_out_what_the_deformable_part_adds_in_size() -> None:
    subject = Chain((Affine(np.diag([1.2, 1.1, 1.0, 1.0])), growth(0.1)))
    assert log_size(subject, GRID) == pytest.approx(3 * np.log(1.1) + np.log(1.32), abs=1e-4)
    np.testing.assert_allclose(log_jacobian(subject, GRID, relative=True).data[2:-2], 0, atol=1e-4)


@pytest.mark.parametrize("strength", [0.25, -0.15])
def test_a_known_growth_has_the_logarithm_of_its_determinant(strength: float) -> None:
    field, truth, mask = swelling(strength)
    found = log_jacobian(field, truth.grid)
    inside = mask.data > 0
    np.testing.assert_allclose(found.data[inside], truth.data[inside], atol=0.02)
    assert np.sign(found.data[20, 20, 20]) == np.sign(strength)
    # the nearest affine of a radial growth scales every axis alike, and is known
    away = np.argwhere(inside) - 20.0
    moved = field.field[inside] + away
    scale = (moved * away).sum() / (away**2).sum()
    assert log_size(field, truth.grid, mask) == pytest.approx(3 * np.log(scale), abs=0.003)
    relative = log_jacobian(field, truth.grid, relative=True, mask=mask)
    np.testing.assert_allclose(found.data - relative.data, 3 * np.log(scale), atol=0.003)
    # an affine laid over it changes the absolute map by its own determinant, the relative one not at all
    larger = Chain((Affine(np.diag([1.1, 0.9, 1.2, 1.0])), field))
    np.testing.assert_allclose(
        log_jacobian(larger, truth.grid, relative=True, mask=mask).data, relative.data, atol=1e-3
    )


def test_the_mask_decides_the_affine_and_an_empty_one_is_refused() -> None:
    field, truth, mask = swelling(0.25)
    assert log_size(field, truth.grid, mask) > 1.3 * log_size(field, truth.grid)
    with pytest.raises(InputError, match="mask: expected voxels above 0"):
        log_size(field, truth.grid, Image(np.zeros_like(mask.data), mask.grid))


def test_integrated_volume_is_the_volume_of_the_grown_structure() -> None:
    field, truth, _ = swelling(0.25)
    away = (np.argwhere(np.ones(truth.grid.shape)) - 20.0) * 0.75
    r = np.sqrt((away**2).sum(axis=-1)).reshape(truth.grid.shape)
    labels = Image((r < 6).astype(np.int32), truth.grid)
    absolute = log_jacobian(field, truth.grid)
    table = structure_jacobians(absolute, absolute, labels, {1: "ball"})
    # a ball of 6 mm is carried to one of 6 g(6) mm
    grown = 4 / 3 * np.pi * (6 * (1 + 0.25 * np.exp(-1))) ** 3
    assert table["integrated_volume_mm3"].item() == pytest.approx(grown, rel=0.02)


def test_smoothing_has_the_width_asked_for_in_mm() -> None:
    grid = Grid((41, 41, 31), np.diag([1.0, 1.0, 2.0, 1.0]))
    point = np.zeros(grid.shape, np.float32)
    point[20, 20, 15] = 1
    smooth = smooth_map(Image(point, grid), 8.0).data
    assert smooth[24, 20, 15] == pytest.approx(smooth[20, 20, 15] / 2, rel=0.02)
    assert smooth[20, 20, 17] == pytest.approx(smooth[20, 20, 15] / 2, rel=0.02)
    assert smooth.sum() == pytest.approx(1, abs=1e-3)
    assert smooth_map(Image(point, grid), 0).data is point
    with pytest.raises(InputError, match="fwhm_mm"):
        smooth_map(Image(point, grid), -1)


def test_agreement_says_bias_and_correlation() -> None:
    keys = {"segmentation": "own", "structure": "left"}
    people = [f"sub-{n}" for n in range(5)]
    volumes = pd.DataFrame(
        [{"participant_id": who, "label": 4, **keys, "volume_mm3": 100.0 + n} for n, who in enumerate(people)]
    )
    jacobians = volumes.assign(integrated_volume_mm3=1.1 * volumes["volume_mm3"]).drop(columns="volume_mm3")
    row = volume_agreement(jacobians, volumes).iloc[0]
    assert (row["members"], row["structure"]) == (5, "left")
    assert row["bias_percent"] == pytest.approx(10)
    assert row["spread_percent"] == pytest.approx(0, abs=1e-9)
    assert row["correlation"] == pytest.approx(1)
    assert volume_agreement(pd.DataFrame(), volumes).empty


def test_rotation_changes_nothing_and_a_mirror_is_refused() -> None:
    turned = Affine.from_parameters(rotation=(0.3, 0.2, 2.9), translation=(40, 0, 0))
    np.testing.assert_allclose(log_jacobian(turned, GRID).data, 0, atol=1e-6)
    with pytest.raises(InputError, match="mirror"):
        log_jacobian(Affine(np.diag([-1.0, 1.0, 1.0, 1.0])), GRID)


def test_folding_stays_finite() -> None:
    folded = growth(-1.5)
    assert np.isfinite(log_jacobian(folded, GRID).data).all()
    assert log_jacobian(folded, GRID).data[10, 9, 8] < -6


def test_volumes_have_a_row_for_every_name_and_every_label() -> None:
    data = np.zeros(GRID.shape, np.int32)
    data[:2], data[2:3], data[5, 5, 5] = 4, 9, 31000
    table = structure_volumes(Image(data, GRID), {4: "left", 9: "right", 12: "absent"})
    assert table["label"].tolist() == [4, 9, 12, 31000]
    assert table["structure"].tolist() == ["left", "right", "absent", "label-31000"]
    plane = 18 * 16 * 3.0
    assert table["volume_mm3"].tolist() == pytest.approx([2 * plane, plane, 0.0, 3.0])
    assert table["share_of_intracranial"].sum() == pytest.approx(1.0)


def test_volumes_are_divided_by_a_mask_or_a_number() -> None:
    data = np.ones(GRID.shape, np.int32)
    half = np.zeros(GRID.shape, np.uint8)
    half[:10] = 1
    labels = Image(data, GRID)
    assert structure_volumes(labels, None, Image(half, GRID))["share_of_intracranial"][0] == pytest.approx(2)
    assert structure_volumes(labels, None, 1000.0)["share_of_intracranial"][0] == pytest.approx(
        GRID.size * 3 / 1000
    )
    with pytest.raises(InputError, match="intracranial"):
        structure_volumes(labels, None, 0.0)


def test_structure_jacobians_match_plain_statistics() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, GRID.shape).astype(np.int32)
    maps = [rng.normal(0.3, 0.2, GRID.shape).astype(np.float32) for _ in range(2)]
    table = structure_jacobians(*(Image(data, GRID) for data in maps), Image(labels, GRID), {7: "absent"})
    assert table["label"].tolist() == [1, 2, 3, 7]
    for row in table.itertuples():
        if row.label == 7:
            assert row.voxels == 0
            assert np.isnan(row.absolute_mean)
            continue
        inside = labels == row.label
        assert row.voxels == inside.sum()
        assert row.absolute_mean == pytest.approx(maps[0][inside].mean(), abs=1e-6)
        assert row.absolute_sd == pytest.approx(maps[0][inside].std(), abs=1e-6)
        assert row.relative_mean == pytest.approx(maps[1][inside].mean(), abs=1e-6)


def test_structures_refuse_other_grids_and_real_numbers() -> None:
    real = Image(np.zeros(GRID.shape, np.float32), GRID)
    labels = Image(np.ones(GRID.shape, np.int32), Grid(GRID.shape, np.eye(4)))
    with pytest.raises(InputError, match="grid"):
        structure_jacobians(real, real, labels)
    with pytest.raises(InputError, match="integers"):
        structure_volumes(real)
