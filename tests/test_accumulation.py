"""Maps added up over sessions, and their histograms."""

from __future__ import annotations

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.image import Image
from regcore.morphometry import accumulate, value_summary, volume_histogram
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement


def bump(scale: float) -> tuple[Chain, Grid]:
    """A smooth map with an affine: world mm of the grid to the world of another session."""
    grid = Grid((40, 40, 40), np.eye(4))
    x = np.mgrid[:40, :40, :40].astype(np.float32) - 19.5
    weight = np.exp(-(x**2).sum(axis=0) / (2 * 6.0**2))
    field = np.ascontiguousarray(np.moveaxis(scale * x * weight, 0, -1)).astype(np.float32)
    affine = Affine.from_parameters(
        translation=(1, -2, 0.5), rotation=(0.05, 0, 0.1), zooms=(1.1, 1, 0.95), centre=(19.5,) * 3
    )
    return Chain((affine, Displacement(field, grid))), grid


def test_accumulation_keeps_values_or_amounts() -> None:
    transform, grid = bump(0.25)
    x = np.mgrid[:40, :40, :40].astype(np.float32) - 19.5
    spot = Image(np.exp(-((x - 2) ** 2).sum(axis=0) / (2 * 5.0**2)).astype(np.float32), grid)
    whole = float(spot.data.sum(dtype=np.float64))
    amount = accumulate([spot, spot], [transform, Affine(np.eye(4))], grid, "amount")
    assert amount.data.sum(dtype=np.float64) == pytest.approx(2 * whole, rel=5e-3)
    value = accumulate([spot, spot], [transform, Affine(np.eye(4))], grid)
    assert abs(float(value.data.sum(dtype=np.float64)) / (2 * whole) - 1) > 0.05
    # a point takes its dose along
    assert value.data.max() <= 2 * spot.data.max()
    constant = Image(np.full(grid.shape, 1.5, np.float32), grid)
    both = accumulate([constant, constant], [transform, transform], grid)
    assert both.data[8:-8, 8:-8, 8:-8] == pytest.approx(3.0, abs=1e-6)
    with pytest.raises(InputError, match="expected one of value, amount, found 'mass'"):
        accumulate([spot], [transform], grid, "mass")
    with pytest.raises(InputError, match="expected a transform for each map, found 1 and 0"):
        accumulate([spot], [], grid)


def test_histogram_integrates_to_the_mean() -> None:
    grid = Grid((10, 10, 10), np.diag([2.0, 1.0, 1.0, 1.0]))
    generator = np.random.default_rng(0)
    dose = Image(generator.uniform(0, 60, grid.shape).astype(np.float32), grid)
    labels = Image(generator.integers(0, 3, grid.shape).astype(np.int32), grid)
    frame = volume_histogram(dose, labels, {1: "tumour"}, 0.1)
    summary = value_summary(dose, labels, {1: "tumour"}).set_index("label")
    assert summary.loc[1, "structure"] == "tumour"
    for label, rows in frame.groupby("label"):
        assert rows["volume_share"].is_monotonic_decreasing
        assert rows["volume_share"].iloc[[0, -1]].tolist() == [1.0, 0.0]
        # the mean is the area below the curve
        area = np.trapezoid(rows["volume_share"], rows["value"])
        assert area == pytest.approx(summary.loc[label, "mean"], abs=0.05)
        assert rows["volume_mm3"].iloc[0] == summary.loc[label, "volume_mm3"]
        above = rows.loc[rows["volume_share"] >= 0.95, "value"].max()
        assert above == pytest.approx(summary.loc[label, "d95"], abs=0.35)
    assert len(volume_histogram(dose, labels)["value"].unique()) == 102
    with pytest.raises(InputError, match="histogram step: expected above 0"):
        volume_histogram(dose, labels, step=0.0)
