"""Outlier scores, checks, display planes, figures, and the page as a whole."""

import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from regcore.image import Image
from regcore.qc import checks
from regcore.qc.figures import map_figure, mixtures, otsu_levels, template_figure
from regcore.qc.findings import find_outliers
from regcore.qc.interactive import histogram_plot
from regcore.qc.outliers import Measure, measure_outliers, member_keys, robust_scores, structure_outliers
from regcore.qc.planes import canonical, foreground_box, planes
from regcore.qc.plots import convergence_figure, structure_figure
from regcore.qc.report import ReportData, accuracy_summary, build_report, digest, facts
from regcore.qc.sections import accumulated_section
from regcore.qc.slices import outline_sheet, sheet_of, slice_sheet, smaller
from regcore.qc.viewer import shrink_to_fit
from regcore.space import Grid

HOSTILE = "<script>alert(1)</script>\"'&$x_1^{$ {{ 7*7 }}"


def ball(affine=None, shape=(24, 28, 20), radius=8.0):
    grid = Grid(shape, np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine)
    offset = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(offset, axis=-1)
    data = np.clip(radius - distance, 0, 1) * (1 + (distance < radius / 2))
    return Image(data.astype(np.float32), grid)


def picture_of(png):
    return Picture.open(io.BytesIO(png))


def test_scores_are_standard_deviations_for_normal_values():
    values = np.random.default_rng(1).normal(5.0, 2.0, 20001)
    np.testing.assert_allclose(robust_scores(values), (values - 5.0) / 2.0, atol=0.15)


def test_scores_ignore_what_is_not_finite_and_survive_equal_values():
    scores = robust_scores([1.0, 2.0, np.nan, 3.0, np.inf, 50.0])
    assert np.isnan(scores[[2, 4]]).all()
    assert scores[5] > 10
    assert (robust_scores([7.0] * 6) == 0).all()
    assert (robust_scores([0.1 + 0.2, 0.3, 0.3, 0.3]) == 0).all()
    assert (robust_scores([1.0, 900.0]) == 0).all()
    assert robust_scores([]).size == 0


def test_one_value_apart_from_equal_ones_is_found():
    # the median absolute deviation is zero here
    scores = robust_scores([0.0] * 20 + [4.0])
    assert scores[-1] > 3.5
    assert (scores[:-1] == 0).all()


def test_measures_are_flagged_on_the_side_that_matters():
    frame = pd.DataFrame(
        {
            "participant_id": list("abcdef"),
            "similarity_after": [0.8, 0.81, 0.82, 0.79, 0.2, 1.5],
            "other": 0.0,
        }
    )
    found = measure_outliers(frame, {"similarity_after": Measure("low"), "missing": Measure("high")})
    assert found["member"].tolist() == ["sub-e"]
    assert found["score"].iloc[0] < -3.5
    both = measure_outliers(frame, {"similarity_after": Measure("both")})
    assert set(both["member"]) == {"sub-e", "sub-f"}


def test_structures_are_compared_with_the_same_structure_only():
    values = {"large": [100.0, 101, 99, 100], "small": [1.0, 1.1, 0.9, 5.0]}
    frame = pd.DataFrame(
        [{"participant_id": m, "name": n, "v": v[i]} for n, v in values.items() for i, m in enumerate("abcd")]
    )
    found = structure_outliers(frame, "name", "v")
    assert found[["member", "structure"]].to_numpy().tolist() == [["sub-d", "small"]]


def test_keys_name_sessions_once():
    frame = pd.DataFrame({"participant_id": ["sub-01", "02"], "session_id": ["ses-a", np.nan]})
    assert member_keys(frame).tolist() == ["sub-01_ses-a", "sub-02"]


@pytest.mark.parametrize("codes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_any_orientation_gives_the_same_picture(codes, flips):
    image = Image(
        np.random.default_rng(0).random((5, 6, 7), np.float32), Grid((5, 6, 7), np.diag([2, 3, 4, 1.0]))
    )
    # the same voxels at the same places, stored in another order
    turned = image.data.transpose(codes)[tuple(slice(None, None, f) for f in flips)]
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for axis, (code, flip) in enumerate(zip(codes, flips, strict=True)):
        to_old[code, axis] = flip
        to_old[code, 3] = 0 if flip > 0 else image.data.shape[code] - 1
    other = Image(turned, Grid(turned.shape, image.grid.affine @ to_old))
    np.testing.assert_array_equal(canonical(other).data, image.data)
    np.testing.assert_allclose(canonical(other).affine, image.grid.affine)
    assert canonical(other).spacing == (2.0, 3.0, 4.0)


def test_oblique_axes_go_to_the_nearest_anatomical_axis():
    angle = np.deg2rad(20)
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    affine[:3, :3] = [
        [np.cos(angle), -np.sin(angle), 0],
        [np.sin(angle), np.cos(angle), 0],
        [0, 0, 1],
    ] @ affine[:3, :3]
    turned = canonical(Image(np.zeros((4, 5, 6), np.float32), Grid((4, 5, 6), affine)))
    assert turned.spacing == pytest.approx((1.0, 2.0, 3.0))
    assert turned.affine[0, 0] > 0


def test_sides_follow_the_convention():
    image = ball()
    data = image.data.copy()
    data[-3:] = 9  # the subject's right
    marked = Image(data, image.grid)
    left = planes(marked, convention="neurological")[0]
    right = planes(marked, convention="radiological")[0]
    assert left.sides == ("L", "R")
    assert right.sides == ("R", "L")
    assert left.values[10, -1] == 9
    assert right.values[10, 0] == 9
    # sagittal pictures do not depend on it
    assert planes(marked, convention="radiological")[2].sides == ("P", "A")


def test_a_2d_image_gives_one_plane():
    image = Image(np.ones((30, 20, 1), np.float32), Grid((30, 20, 1), np.eye(4)))
    shown = planes(image, foreground_box(image))
    assert [plane.name for plane in shown] == ["axial"]
    assert shown[0].values.shape == (20, 30)
    assert picture_of(template_figure(image)).width == 1040


def test_the_frame_ignores_a_stray_voxel():
    image = ball(shape=(64, 64, 64))
    data = image.data.copy()
    data[0, 0, 0] = 5
    box = foreground_box(Image(data, image.grid))
    assert box[0][0] > 15


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


def test_certificate_uses_its_own_verdict_first():
    assert checks.check_certificate({"a_rms_mm": 0.05}).verdict == "pass"
    assert checks.check_certificate({"a_rms_mm": 0.05, "threshold_mm": 0.01}).verdict == "fail"
    assert checks.check_certificate({"a_rms_mm": 0.05, "unbiased": False}).verdict == "fail"
    assert checks.check_certificate(None).verdict == "none"
    assert checks.check_certificate({"a_rms_mm": float("nan")}).verdict == "fail"


def test_registrations_that_fold_fail():
    frame = pd.DataFrame({"folded_voxels": [0, 3], "inverse_consistency_mean_vox": [0.01, 0.5]})
    assert [check.verdict for check in checks.check_registrations(frame)] == ["fail", "look"]
    assert checks.check_registrations(None) == []


def test_jacobians_are_judged_by_the_labels():
    frame = pd.DataFrame(
        {
            "segmentation": ["own", "own", "own", "atlas"],
            "members": [8, 8, 4, 8],
            "correlation": [0.9, 0.8, 0.1, 0.75],
            "bias_percent": [-4.0, 6.0, 90.0, 9.0],
        }
    )
    good = checks.check_agreement(frame)
    assert (good.verdict, good.found.split("; ")[0]) == ("pass", "own: correlation 0.85, bias 5.0 %")
    # every segmentation has to agree
    loose = frame.assign(correlation=[0.9, 0.8, 0.1, 0.69])
    assert checks.check_agreement(loose).verdict == "look"
    assert checks.check_agreement(frame.assign(bias_percent=[-14.0, 16.0, 0.0, 0.0])).verdict == "look"
    for nothing in (None, frame[:0], frame[2:3], frame.assign(correlation=np.nan)):
        assert checks.check_agreement(nothing).verdict == "none"


def registrations_of(stage, similarities, **more):
    rows = {"participant_id": [f"sub-{number}" for number in range(len(similarities))], "stage": stage}
    return pd.DataFrame({**rows, "similarity_after": similarities, **more})


def outliers_in(*frames):
    return find_outliers(ReportData(title="t", registrations=pd.concat(frames, ignore_index=True)))


def test_outliers_are_found_in_every_stage():
    good, bad = [0.9, 0.91, 0.89, 0.9, 0.9, 0.9], [0.9, 0.91, 0.89, 0.2, 0.9, 0.9]
    population = registrations_of("population", good)
    assert outliers_in(population, registrations_of("sessions", good)).empty
    assert checks.check_outliers(outliers_in(population), 6).verdict == "pass"
    visits = registrations_of("sessions", bad, session_id="ses-2")
    atlases = registrations_of("atlas", bad, moving="sub-9")
    found = outliers_in(visits, atlases, registrations_of("population", bad))
    assert found[["member", "stage", "moving"]].fillna("").values.tolist() == [
        ["sub-3", "population", ""], ["sub-3_ses-2", "sessions", ""], ["sub-3", "atlas", "sub-9"],
    ]  # fmt: skip
    check = checks.check_outliers(found, 6)
    assert check.verdict == "look"
    assert check.found == "population: 1 of 6 (sub-3); sessions: 1 (sub-3_ses-2); atlas: 1 (sub-3)"


def test_iterations_of_a_template_only_lead_to_the_registrations_that_count():
    good, bad = [0.9, 0.91, 0.89, 0.9, 0.9, 0.9], [0.9, 0.91, 0.89, 0.2, 0.9, 0.9]
    early = registrations_of("affine", bad, iteration=1)
    assert outliers_in(early, registrations_of("population", good, iteration=None)).empty


def test_only_members_on_the_template_are_flagged_in_the_viewer():
    data = full_data()
    rows = data.registrations.assign(stage="atlas", moving="sub-9")
    page = build_report(dataclasses.replace(data, registrations=rows))
    assert "atlas: 1" in page
    assert '"flagged":true' not in page
    assert '"flagged":true' in build_report(data)


def full_data():
    image = ball()
    members = [f"sub-{i:02d}" for i in range(5)] + [HOSTILE]
    structures = pd.DataFrame(
        [
            {"participant_id": m, "label": s, "structure": f"{HOSTILE}{s}", "volume_mm3": 10.0 + i + s,
             "absolute_mean": 0.1 * i, "relative_mean": 0.02 * i, "dice": 0.8}
            for i, m in enumerate(members) for s in (1, 2)
        ]
    )  # fmt: skip
    registrations = pd.DataFrame(
        {"participant_id": members, "similarity_after": [0.8, 0.81, 0.79, 0.8, 0.8, 0.1], "folded_voxels": 0}
    )
    return ReportData(
        title=HOSTILE,
        versions={HOSTILE: HOSTILE},
        settings={HOSTILE: {HOSTILE: [HOSTILE]}},
        cohort=pd.DataFrame({HOSTILE: [HOSTILE]}),
        quarantine=pd.DataFrame({"participant_id": [HOSTILE], "reason": [HOSTILE]}),
        templates=[(HOSTILE, image), ("last", image)],
        template_mask=Image((image.data > 0).astype(np.uint8), image.grid),
        convergence=pd.DataFrame({"iteration": [1, 2], "stage": HOSTILE, "rms_shape_update_mm": [1.0, 0.05]}),
        convergence_threshold_mm=0.1,
        certificate={HOSTILE: HOSTILE, "mean_displacement_rms_mm": 0.01},
        members=[("sub-" + m.removeprefix("sub-"), slice_sheet(image, sheet_of(image))) for m in members],
        variance=image,
        volumes=structures,
        jacobians=structures,
        overlap=structures,
        validation=pd.DataFrame(
            {
                "atlas": [HOSTILE, "sub-1"] * 2,
                "fusion": [HOSTILE, HOSTILE, "joint", "joint"],
                "structure": HOSTILE,
                "dice": [0.5, 0.6, 0.7, 0.9],
                "hausdorff95_mm": [3.0, 2.0, 2.0, np.nan],
                "surface_distance_mm": [1.0, 1.0, 0.5, np.nan],
                "volume_bias_percent": [-10.0, 5.0, 1.0, np.nan],
            }
        ),
        fusion="joint",
        registrations=registrations,
        runtime=pd.DataFrame({"rule": [HOSTILE, "b"], "seconds": [3.0, 4.0], "memory_mb": [10.0, 20.0]}),
        outputs=pd.DataFrame({"path": [HOSTILE], "description": [HOSTILE]}),
    )


def test_accuracy_is_that_of_the_fusion_in_use():
    data = full_data()
    summary = accuracy_summary(data.validation)
    assert summary["fusion"].tolist() == ["joint", HOSTILE]
    assert summary["dice"].tolist() == [0.8, 0.55]
    assert summary["absolute_volume_bias_percent"].tolist() == [1.0, 7.5]
    assert ("Dice, leave one atlas out", "0.800") in facts(data)
    assert accuracy_summary(None) is None


@pytest.fixture(scope="module")
def page():
    return build_report(full_data())


def test_only_the_scripts_of_the_page_may_run(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data: blob:; ")
    allowed = set(re.findall(r"'sha256-([^']*)'", policy))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert {digest(script) for script in scripts} == allowed
    assert "unsafe-eval" not in policy
    for word in ("@import", "<link", "<iframe", "javascript:", ' src="http'):
        assert word not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL), word


def test_hostile_names_are_text_everywhere(page):
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "</script>alert" not in page
    assert "{{ 7*7 }}" in page
    # no attribute is closed early by a quote within a name
    assert 'alt="<' not in page
    assert re.search(r'alt="[^"]*&lt;script&gt;', page)


def test_every_picture_says_what_it_shows(page):
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) >= 7
    assert all(re.search(r'alt="[^"]{10,}"', element) for element in pictures)
    assert len(page) < 4_000_000


def test_the_flagged_member_comes_first(page):
    mosaic = page[page.index('id="members"') : page.index('id="variance"')]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", mosaic)
    assert len(captions) == 6
    assert "badge" in captions[0]
    assert all("badge" not in caption for caption in captions[1:])


def test_every_link_in_the_page_has_a_target(page):
    for name in re.findall(r'href="#([a-z]+)"', page):
        assert f'id="{name}"' in page


def test_a_study_without_a_template_still_has_a_report():
    page = build_report(ReportData(title="pairs"))
    assert "no template built" in page
    assert 'id="template"' not in page


def test_empty_tables_are_passed_over():
    empty = pd.DataFrame({"participant_id": [], "structure": [], "volume_mm3": [], "dice": []})
    page = build_report(
        ReportData(
            title="t",
            volumes=empty,
            overlap=empty,
            jacobians=empty,
            registrations=empty,
            quarantine=empty,
            convergence=empty,
            cohort=empty,
            outputs=empty,
            runtime=pd.DataFrame({"rule": [], "seconds": []}),
        )
    )
    assert "No image was set aside" in page


def test_accumulated_maps_have_a_panel_a_structure_and_a_line_a_participant():
    rows = [
        {"participant_id": f"sub-{member}", "segmentation": "own", "structure": name, "value": value,
         "volume_share": max(0.0, 1 - value / (member * most))}
        for member in (1, 2) for name, most in (("lens", 1.0), (HOSTILE, 4.0)) for value in np.arange(9.0)
    ]  # fmt: skip
    histograms = pd.DataFrame(rows)
    panels = [panel for panel, _, _ in histogram_plot(histograms, "dose").children]
    # the structure that reaches the largest values comes first
    assert [each.title.text for each in panels] == [HOSTILE, "lens"]
    data = panels[0].renderers[0].data_source.data
    assert data["key"] == ["sub-1", "sub-2"]
    assert data["share"][0] == [100.0, 75.0, 50.0, 25.0, 0.0]
    section = accumulated_section(histograms.head(2), histograms, "dose")
    page = build_report(ReportData(title="t", sections=[section]))
    assert 'id="accumulated-plot-1"' in page
    assert "<script>alert" not in page
    empty = histograms.assign(volume_share=0.0)
    assert not accumulated_section(histograms, empty, "dose").plots
