"""Left-right symmetric templates, paired structures and asymmetry indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regcore.errors import InputError
from regcore.groupwise import average, mirror, partial_sum, shape_update, symmetrise, symmetrise_sum
from regcore.groupwise.shape import mean_displacement, mean_log_stretch
from regcore.groupwise.symmetry import mirror_axis
from regcore.image import Image
from regcore.io.nifti import read_image, read_mask
from regcore.io.tables import read_json
from regcore.morphometry import asymmetry_index, asymmetry_table, log_asymmetry_index, log_jacobian
from regcore.registration import RegistrationSettings
from regcore.resample import resample
from regcore.sides import mirror_name, side_pairs
from regcore.space import Grid
from regcore.study.config import Study
from regcore.study.gather import gather_template
from regcore.study.influence import measure_influence
from regcore.study.outputs import Layout
from regcore.study.population import population_batch
from regcore.study.publish import publish_template
from regcore.study.settings import DatasetSettings, PopulationSettings, TemplateStage
from regcore.study.template import centre_batch, register_batch, template_grid
from regcore.transforms import Affine, Chain, Displacement

# axes along A, R and S, the middle plane at R = 3.5 mm
GRID = Grid((9, 8, 10), np.array([[0, -2.0, 0, 10.5], [1.5, 0, 0, -4], [0, 0, 1, 5], [0, 0, 0, 1]]))
REFLECTION = np.diag([-1.0, 1.0, 1.0, 1.0])
REFLECTION[0, 3] = 7.0


def cohort(count: int) -> tuple[list[Image], list[Image], list[Chain]]:
    rng = np.random.default_rng(11)
    images = [Image(rng.random(GRID.shape, np.float32), GRID) for _ in range(count)]
    seen = [Image((rng.random(GRID.shape) > 0.1).astype(np.float32), GRID) for _ in range(count)]
    maps = []
    for _ in range(count):
        affine = Affine.from_parameters(
            rng.normal(0, 5, 3), rng.normal(0, 0.3, 3), np.exp(rng.normal(0, 0.1, 3)), rng.normal(0, 0.1, 3)
        )
        field = rng.normal(0, 0.5, (*GRID.shape, 3)).astype(np.float32)
        maps.append(Chain((affine, Displacement(field, GRID))))
    return images, seen, maps


def mirrored_map(transform: Chain) -> Chain:
    """The slow way: a transform of the member's mirror image, from the definition R^-1 T M."""
    affine, displacement = transform.transforms
    assert isinstance(affine, Affine)
    assert isinstance(displacement, Displacement)
    # the member's own mirror may be about any plane: here x -> -x of its world
    other = np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine.matrix @ REFLECTION
    points = GRID.world_points()
    there = points @ REFLECTION[:3, :3].T + REFLECTION[:3, 3]
    moved = Chain((displacement,))(there) @ REFLECTION[:3, :3].T + REFLECTION[:3, 3]
    field = (moved - points) @ np.linalg.inv(GRID.affine[:3, :3]).T
    return Chain((Affine(other), Displacement(field.astype(np.float32), GRID)))


def test_sums_of_a_cohort_and_its_mirror() -> None:
    """Against the slow way: every mirror image as a member of its own."""
    images, seen, maps = cohort(4)
    weights = [1.0, 2.0, 0.5, 1.0]
    found = symmetrise_sum(partial_sum(images, seen, maps, weights))
    both = partial_sum(
        [*images, *map(mirror, images)],
        [*seen, *map(mirror, seen)],
        [*maps, *map(mirrored_map, maps)],
        weights * 2,
    )
    assert (found.count, found.total) == (4, 4.5)
    np.testing.assert_allclose(average(found).data, average(both).data, atol=1e-6)
    np.testing.assert_allclose(mean_displacement(found), mean_displacement(both), atol=1e-5)
    np.testing.assert_allclose(mean_log_stretch(found), mean_log_stretch(both), atol=1e-10)
    assert np.array_equal(average(found).data, mirror(average(found)).data)


def test_shape_update_of_a_symmetric_cohort_is_symmetric() -> None:
    images, seen, maps = cohort(3)
    # displacements that stay within the grid and do not fold
    maps = [
        Chain((m.transforms[0], Displacement(0.2 * m.transforms[1].field, GRID)))  # type: ignore[attr-defined]
        for m in maps
    ]
    update = shape_update(symmetrise_sum(partial_sum(images, seen, maps)))
    points = GRID.to_world(np.random.default_rng(0).uniform(2, 6, (50, 3)))
    reflected = points @ REFLECTION[:3, :3].T + REFLECTION[:3, 3]
    there = update(reflected) @ REFLECTION[:3, :3].T + REFLECTION[:3, 3]
    np.testing.assert_allclose(update(points), there, atol=1e-3)


def test_mirror_runs_from_left_to_right() -> None:
    assert mirror_axis(GRID) == 1
    image = Image(np.random.default_rng(0).random(GRID.shape, np.float32), GRID)
    points = GRID.to_voxel(GRID.world_points() @ REFLECTION[:3, :3].T + REFLECTION[:3, 3]).round().astype(int)
    assert np.array_equal(mirror(image).data, image.data[tuple(np.moveaxis(points, -1, 0))])
    assert np.array_equal(mirror(mirror(image)).data, image.data)
    both = symmetrise(image)
    assert np.array_equal(both.data, mirror(both).data)
    mask = Image((image.data > 0.9).astype(np.uint8), GRID)
    assert symmetrise(mask).data.dtype == np.uint8
    sagittal = Grid((8, 8, 1), np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]))
    with pytest.raises(InputError, match="found sagittal slices"):
        mirror_axis(sagittal)


def test_symmetric_template_of_a_study(finished: Path, tmp_path: Path) -> None:
    """Every stage, on the tiny study's images: exactly symmetric to the last voxel, and in the middle."""
    keys = ("sub-1", "sub-2", "sub-3")
    prepared = [finished / "work" / "prepared" / key for key in keys]
    template_grid(prepared, tmp_path / "grid.json", None, symmetric=True)
    centre_batch(prepared, tmp_path / "grid.json", tmp_path / "r0")
    gather_template([tmp_path / "r0"], [], tmp_path / "t0", 0, "centre", True, 0.05, symmetric=True)
    settings = {
        "linear": [{"shrink": [2], "iterations": [5]}],
        "deformable": {"shrink": [1], "iterations": [3]},
    }
    stage = TemplateStage("deformable", 1, RegistrationSettings.from_dict(settings))
    register_batch(prepared, tmp_path / "r0", tmp_path / "t0", tmp_path / "r1", stage)
    gather_template([tmp_path / "r1"], [tmp_path / "t0"], tmp_path / "t1", 1, "deformable", True, 0.05, True)
    layout, population = Layout(tmp_path / "results"), tmp_path / "population"
    population_batch(
        prepared, tmp_path / "r1", tmp_path / "t1", None, population, layout, {}, None, PopulationSettings()
    )
    files = layout.published()
    publish_template([population], tmp_path / "t1", files, layout, DatasetSettings(), symmetric=True)
    for name in ("template", "sharpened", "variance"):
        image = read_image(files[name])
        assert np.array_equal(image.data, mirror(image).data), name
    mask = read_mask(files["mask"])
    assert np.array_equal(mask.data, mirror(mask).data)
    assert not np.array_equal(read_image(layout.warped("sub-1")).data, mirror(image).data)
    assert read_json(files["certificate"])["mean_displacement_rms_mm"] < 0.1
    measure_influence(prepared, [population], tmp_path / "influence", layout, symmetric=True)
    rows = pd.read_csv(tmp_path / "influence" / "influence.tsv", sep="\t")
    assert rows["relative_intensity_change"].between(0, 0.3).all()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Left-Hippocampus", "Right-Hippocampus"),
        ("ctx-rh-superiorfrontal", "ctx-lh-superiorfrontal"),
        ("LH_Vis_1", "RH_Vis_1"),
        ("R inferior parietal lobule", "L inferior parietal lobule"),
        ("hippocampus, right", "hippocampus, left"),
        ("RIGHT CAUDATE", "LEFT CAUDATE"),
        ("rightThalamus", "leftThalamus"),
        ("Lobule VI", None),
        ("bright spot", None),
        ("Brainstem", None),
        ("cleft", None),
        ("hl", None),
    ],
)
def test_side_of_a_name(name: str, other: str | None) -> None:
    assert mirror_name(name) == other


def test_pairs_of_labels() -> None:
    names = {
        1: "Brainstem",
        2: "ctx-lh-insula",
        3: "ctx-rh-insula",
        4: "Putamen_R",
        5: "Putamen_L",
        6: "Left pole",
    }
    pairs = {pair.structure: (pair.left, pair.right) for pair in side_pairs(names)}
    assert pairs == {"ctx-insula": (2, 3), "Putamen": (5, 4)}


def test_asymmetry_of_volumes_and_jacobians_agree() -> None:
    """A left side that grows by a known factor has the same index in volumes and in log-Jacobians."""
    grid = Grid((20, 10, 10), np.diag([1.0, 1.0, 1.0, 1.0]))
    stretch = np.zeros((*grid.shape, 3), np.float32)
    # in template space, the half with the smaller x maps to a region 1.2 times as wide
    stretch[..., 0] = 0.2 * np.minimum(np.arange(20) - 10, 0)[:, None, None]
    larger = log_jacobian(Displacement(stretch, grid), grid).data
    left, right = float(larger[2:8].mean()), float(larger[12:18].mean())
    np.testing.assert_allclose(log_asymmetry_index(left, right), asymmetry_index(1.2, 1.0), rtol=1e-4)
    volumes = pd.DataFrame(
        {
            "member": ["sub-1"] * 3 + ["sub-2"] * 2,
            "segmentation": "own",
            "label": [1, 2, 3, 1, 2],
            "volume_mm3": [120.0, 100.0, 7.0, 0.0, 0.0],
        }
    )
    jacobians = volumes.assign(absolute_mean=[left, right, 0, np.nan, np.nan])
    pairs = {"own": side_pairs({1: "Left a", 2: "Right a", 3: "b"})}
    table = asymmetry_table(volumes, jacobians, pairs)
    assert table["structure"].tolist() == ["a", "a"]
    np.testing.assert_allclose(table["asymmetry_volume"], [2 * 20 / 220, np.nan])
    np.testing.assert_allclose(table["asymmetry_jacobian"], [2 * 20 / 220, np.nan], rtol=1e-4)
    assert "asymmetry_jacobian" not in asymmetry_table(volumes, None, pairs)


def test_mirrored_image_has_the_opposite_index() -> None:
    image = Image(np.random.default_rng(3).integers(0, 3, GRID.shape, np.int32), GRID)
    sizes = [
        [np.bincount(half.ravel(), minlength=3) for half in (each.data[:, :4], each.data[:, 4:])]
        for each in (image, mirror(image))
    ]
    np.testing.assert_allclose(asymmetry_index(*sizes[0]), -asymmetry_index(*sizes[1]))


def test_a_frozen_template_is_not_made_symmetric() -> None:
    template = {
        "name": "Old",
        "frozen": "a/tpl-Old",
        "symmetric": True,
        "stages": [{"name": "r", "linear": [{}]}],
    }
    with pytest.raises(InputError, match="expected false beside template"):
        Study.from_dict({"cohort": {"source": "x"}, "template": template})


def test_resampling_a_symmetric_image_symmetrically_keeps_it() -> None:
    image = symmetrise(Image(np.random.default_rng(1).random(GRID.shape, np.float32), GRID))
    shrink = Affine.from_parameters(zooms=(1.1, 0.9, 1.0), centre=GRID.centre)
    found = resample(image, GRID, shrink)
    np.testing.assert_allclose(found.data, mirror(found).data, atol=1e-5)
