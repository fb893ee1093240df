from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy

from regcore.errors import InputError
from regcore.image import Image
from regcore.preprocess import correct_bias, foreground_mask, is_stripped, normalise_intensity
from regcore.space import Grid


def head(shape: tuple[int, int, int] = (48, 40, 32), seed: int = 0) -> tuple[Image, np.ndarray]:
    """A dim-rimmed ellipsoid with a dark hole in noise, and its outline."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    axes = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    data = np.where(radius < 0.7, 100.0, 0.0)
    data[(radius > 0.6) & (radius < 0.7)] = 60.0
    data[radius < 0.2] = 5.0
    data += np.abs(rng.normal(0, 4, shape))
    return Image(data.astype(np.float32), grid), radius < 0.7


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.sum(first & second) / (first.sum() + second.sum())


@pytest.mark.parametrize("shape", [(48, 40, 32), (60, 50, 1), (50, 1, 60)])
def test_foreground_is_the_filled_object(shape: tuple[int, int, int]) -> None:
    image, truth = head(shape)
    mask = foreground_mask(image)
    assert mask.data.dtype == np.uint8
    assert overlap(mask.data > 0, truth) > 0.96


def test_foreground_does_not_depend_on_intensity_units() -> None:
    image, _ = head()
    scaled = Image((image.data * 37 - 1000).astype(np.float32), image.grid)
    assert np.array_equal(foreground_mask(image).data, foreground_mask(scaled).data)


def test_foreground_of_a_large_image_is_found_on_a_coarse_copy_of_the_right_shape() -> None:
    image, truth = head((121, 119, 97))
    assert overlap(foreground_mask(image).data > 0, truth) > 0.96


def test_stripped_image_keeps_its_outline() -> None:
    _, truth = head()
    rng = np.random.default_rng(1)
    data = np.where(truth, rng.uniform(20, 100, truth.shape), 0).astype(np.float32)
    mask = foreground_mask(Image(data, Grid(truth.shape, np.eye(4))))
    assert overlap(mask.data > 0, truth) > 0.99


def noisy_average(members: int = 6) -> tuple[Image, np.ndarray]:
    """Average of noisy heads on a grid that reaches beyond them, where it is zero, and their outline."""
    made = [head(seed=seed)[0] for seed in range(members)]
    mean = np.mean([np.maximum(image.data, 0) for image in made], axis=0)
    data = np.pad(mean, 3).astype(np.float32)
    return Image(data, Grid(data.shape, np.eye(4))), np.pad(head()[1], 3)


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_average_over_a_noisy_background_is_not_stripped(noise: float) -> None:
    image, truth = noisy_average()
    data = np.where(truth, image.data, noise * image.data)
    assert (data > 0).mean() < 0.75  # its zeros are as many as those of a stripped image
    assert not is_stripped(Image(data, image.grid))
    assert overlap(foreground_mask(Image(data, image.grid)).data > 0, truth) > 0.96


@pytest.mark.parametrize("kind", ["exact", "interpolated", "integers", "constant"])
def test_stripped_is_recognised(kind: str) -> None:
    image, truth = head()
    data = np.where(truth, image.data, 0).astype(np.float32)
    if kind == "interpolated":
        data = scipy.ndimage.shift(data, (0.4, -0.3, 0.2), order=1, prefilter=False)
        assert ((data > 0) & (data < 10)).any()
    elif kind == "integers":
        data = data.astype(np.int16)
    elif kind == "constant":
        data = truth.astype(np.float32)
    assert is_stripped(Image(data, image.grid))


def test_tiny_object_is_found() -> None:
    data = np.zeros((40, 40, 40), np.float32)
    data[18:22, 18:22, 18:22] = 7
    assert foreground_mask(Image(data, Grid(data.shape, np.eye(4)))).data.sum() == 64


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_foreground_refuses_constant_and_nan(value: float) -> None:
    with pytest.raises(InputError, match=r"constant|finite"):
        foreground_mask(Image(np.full((8, 8, 8), value, np.float32), Grid((8, 8, 8), np.eye(4))))


def test_intensities_are_comparable_after_normalisation() -> None:
    image, truth = head()
    mask = Image(truth.astype(np.uint8), image.grid)
    first = normalise_intensity(image, mask)
    second = normalise_intensity(Image(image.data * 12 + 300, image.grid), mask)
    assert first.data.dtype == np.float32
    assert first.data.min() == 0.0
    assert first.data.max() == 1.0
    assert np.median(first.data[truth]) == pytest.approx(0.5, abs=1e-5)
    np.testing.assert_allclose(first.data, second.data, atol=1e-4)


def test_normalisation_refuses_what_it_cannot_scale() -> None:
    image, truth = head()
    with pytest.raises(InputError, match="lower, upper"):
        normalise_intensity(image, lower=50, upper=50)
    with pytest.raises(InputError, match="mask"):
        normalise_intensity(image, Image(np.zeros(truth.shape, np.uint8), image.grid))
    with pytest.raises(InputError, match="mask"):
        normalise_intensity(image, Image(truth.astype(np.uint8), Grid(truth.shape, np.eye(4))))


def test_bias_correction_flattens_a_slow_drift() -> None:
    pytest.importorskip("SimpleITK")
    image, truth = head()
    ramp = np.exp(np.linspace(-0.5, 0.5, image.grid.shape[0]))[:, None, None]
    drifted = Image((image.data * ramp).astype(np.float32), image.grid)
    mask = Image(truth.astype(np.uint8), image.grid)
    inner = image.data > 80

    def spread(data: np.ndarray) -> float:
        return float(data[inner].std() / data[inner].mean())

    corrected = correct_bias(drifted, mask, shrink=2)
    assert spread(corrected.data) < 0.4 * spread(drifted.data)
    assert corrected.grid is image.grid


def test_bias_correction_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match="SimpleITK"):
        correct_bias(head()[0])
