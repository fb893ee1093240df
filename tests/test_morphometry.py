from __future__ import annotations

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.image import Image
from regcore.morphometry import log_jacobian, structure_jacobians, structure_volumes
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement

GRID = Grid((20, 18, 16), np.array([[0, -2.0, 0, 5], [1.0, 0, 0, -3], [0, 0, 1.5, 1], [0, 0, 0, 1]]))


def growth(rate: float) -> Displacement:
    """Expansion by ``1 + rate`` along every voxel axis about the middle of the grid."""
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij"), axis=-1)
    return Displacement((rate * (voxels - (np.array(GRID.shape) - 1) / 2)).astype(np.float32), GRID)


def test_larger_subject_is_positive() -> None:
    subject = Chain((Affine(np.diag([1.2, 1.1, 1.0, 1.0])), growth(0.1)))
    absolute, relative = log_jacobian(subject, GRID), log_jacobian(subject, GRID, relative=True)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(relative.data[inner], 3 * np.log(1.1), atol=1e-4)
    np.testing.assert_allclose(absolute.data[inner], 3 * np.log(1.1) + np.log(1.32), atol=1e-4)
    assert absolute.data.dtype == np.float32


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
