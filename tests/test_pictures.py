"""Pictures of the report: figures, sheets of slices, outlines, plots."""

import numpy as np
import pandas as pd
import pytest

from regcore.image import Image
from regcore.qc.figures import map_figure, mixtures, otsu_levels, template_figure
from regcore.qc.planes import planes
from regcore.qc.plots import convergence_figure, structure_figure
from regcore.qc.slices import outline_sheet, sheet_of, slice_sheet, smaller
from regcore.qc.viewer import shrink_to_fit
from regcore.space import Grid
from tests.reports import HOSTILE, ball, picture_of


def test_figures_have_the_asked_width_and_true_proportions():
    image = ball()
    mask = Image((image.data > 0).astype(np.uint8), image.grid)
    assert picture_of(template_figure(image, mask, width_px=500)).width == 500
    assert picture_of(map_figure(image, image, mask, label=HOSTILE)).width == 1040
    for plane in planes(image):
        assert plane.size_mm[0] == plane.values.shape[1] * (2.0)
        assert plane.aspect == (1.5 if plane.name != "axial" else 1.0)


@pytest.mark.parametrize("convention", ["neurological", "radiological"])
def test_a_sheet_holds_the_slices_that_it_says(convention):
    image = ball()
    data = image.data.copy()
    data[-8:] *= 0.4  # the subject's right is darker
    sheet = sheet_of(image, None, convention)
    pixels = np.asarray(picture_of(slice_sheet(Image(data, image.grid), sheet)).convert("L")).astype(float)
    size, middle = sheet.cell_px, len(sheet.centres) // 2
    assert pixels.shape == (3 * size, len(sheet.centres) * size)
    cell = pixels[:size, middle * size : (middle + 1) * size]
    left, right = cell[:, : size // 2].mean(), cell[:, size // 2 :].mean()
    assert (left > right) == (convention == "neurological")
    assert sheet.positions_mm[0] == sorted(sheet.positions_mm[0])


def test_sheets_are_the_same_every_time_and_can_be_shrunk():
    image = ball()
    sheet = sheet_of(image)
    content = slice_sheet(image, sheet)
    assert content == slice_sheet(image, sheet)
    assert picture_of(smaller(content, 0.5)).width == picture_of(content).width // 2
    noise = np.random.default_rng(0).random(image.grid.shape, np.float32)
    heavy = [slice_sheet(Image(noise, image.grid), sheet)] * 3
    assert shrink_to_fit(heavy) == heavy
    half = sum(map(len, heavy)) // 2
    assert sum(map(len, shrink_to_fit(heavy, half))) <= half


def test_outlines_are_the_templates_borders_on_nothing():
    image = ball()
    sheet = sheet_of(image)
    mask = Image((image.data > 0).astype(np.uint8), image.grid)
    pixels = np.asarray(picture_of(outline_sheet(image, sheet, mask)).convert("RGBA"))
    assert pixels.shape[0] == 6 * sheet.cell_px
    drawn = pixels[..., 3] > 0
    assert 0 < drawn.mean() < 0.1
    assert {tuple(colour) for colour in np.unique(pixels[drawn], axis=0)[:, :3]} == {
        (255, 176, 0),
        (56, 198, 244),
    }


def test_a_member_that_is_empty_constant_or_nan_is_still_drawn():
    image = ball()
    sheet = sheet_of(image)
    for value in (0.0, 3.0, np.nan):
        member = Image(np.full(image.data.shape, value, np.float32), image.grid)
        assert picture_of(slice_sheet(member, sheet)).width == len(sheet.centres) * sheet.cell_px
    flat = Image(np.ones((30, 20, 1), np.float32), Grid((30, 20, 1), np.eye(4)))
    assert picture_of(slice_sheet(flat, sheet_of(flat))).size == (512, 512)
    assert otsu_levels(np.zeros(5, np.float32)) is None


def test_white_paper_stays_white_and_outliers_stay_orange():
    frame = pd.DataFrame({"structure": "a", "volume": [1.0, 1.1, 0.9, 1.05, 8.0]})
    pixels = np.asarray(
        picture_of(structure_figure(frame, "structure", "volume", "mm3")).convert("RGB")
    ).astype(int)
    assert (pixels[0, 0] == 255).all()
    assert (pixels[..., 0] - pixels[..., 2] > 120).any()


def test_a_palette_never_has_more_colours_than_a_png_allows():
    assert len(mixtures(["#ffb000", "#38c6f4"])) // 3 <= 256


@pytest.mark.parametrize("count", [1, 3, 148, 400])
def test_structures_are_drawn_whatever_their_number(count):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        [(f"{HOSTILE} {i}", v) for i in range(count) for v in generator.lognormal(i / 40, 0.1, 5)],
        columns=["structure", "volume"],
    )
    size = picture_of(structure_figure(frame, "structure", "volume", "mm3", logarithmic=True)).size
    assert size[0] == 1300
    assert size[1] < 1800


def test_structures_without_a_usable_value_are_drawn_as_nothing():
    frame = pd.DataFrame({"structure": ["a", "b"], "volume": [0.0, np.nan]})
    assert structure_figure(frame, "structure", "volume", "mm3", logarithmic=True).startswith(b"\x89PNG")


def test_convergence_is_drawn_from_one_row_and_with_gaps():
    row = {
        "iteration": 1,
        "stage": HOSTILE,
        "rms_shape_update_mm": 0.5,
        "template_change": np.nan,
        "sharpness": 0.1,
    }
    assert convergence_figure(pd.DataFrame([row]), 0.1).startswith(b"\x89PNG")
    assert convergence_figure(pd.DataFrame([row, row | {"iteration": 2}])).startswith(b"\x89PNG")
