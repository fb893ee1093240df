"""Labels from atlases to members: through the template, through a template library, and from a table."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.label_tables import read_label_table
from regcore.io.nifti import read_image, read_labels, write_image
from regcore.io.tables import read_json
from regcore.labels import dice
from regcore.registration import RegistrationSettings
from regcore.resample import resample
from regcore.space import Grid
from regcore.study.atlas import atlas_batch, prepare_atlas
from regcore.study.atlases import Atlas
from regcore.study.carry import Places, carry, register_library, through_template
from regcore.study.manifest import located, read_manifest
from regcore.study.outputs import Layout, sidecar
from regcore.study.settings import AtlasSettings, PrepareSettings
from regcore.transforms import Affine, Chain, Displacement

QUICK = RegistrationSettings.from_dict(
    {"linear": [], "deformable": {"metric": "ncc", "shrink": [2, 1], "iterations": [4, 4]}}
)
KEYS = ("sub-1", "sub-2", "sub-3")
THROUGH = AtlasSettings(route="template")
AWAY = np.array([40.0, -25.0, 60.0])
"""Where the atlas of the table lies in the world, mm from where the members do."""


def truth(finished: Path, key: str) -> Image:
    return read_labels(finished.parent / f"{key.removeprefix('sub-')}_dseg.nii.gz")


def places_of(finished: Path, *library: Path) -> Places:
    work = finished / "work"
    prepared = [work / "prepared" / key for key in KEYS]
    return Places.of(Layout(finished), [*prepared, *library], [work / "population" / "all"])


def member_atlas(finished: Path, number: int) -> Atlas:
    root = finished.parent
    return Atlas(f"sub-{number}", root / f"{number}.nii.gz", root / f"{number}_dseg.nii.gz", True)


@pytest.fixture(scope="module")
def elsewhere(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Path]:
    """The first member as an atlas of a table, far from where it was, and the folder of its preparation."""
    folder = tmp_path_factory.mktemp("elsewhere")
    away = np.eye(4)
    away[:3, 3] = AWAY
    for name in ("1.nii.gz", "1_dseg.nii.gz"):
        image = (read_labels if "dseg" in name else read_image)(finished.parent / name)
        write_image(folder / name, Image(image.data, Grid(image.grid.shape, away @ image.grid.affine)))
    atlas = Atlas("atlas-Far", folder / "1.nii.gz", folder / "1_dseg.nii.gz", False)
    linear = {"model": "affine", "metric": "ncc", "shrink": [2, 1], "iterations": [20, 10]}
    registration = RegistrationSettings.from_dict({"linear": [linear], "deformable": None})
    prepared = folder / "library" / atlas.key
    prepare_atlas(atlas.key, atlas.image, True, prepared, Layout(finished), PrepareSettings(), registration)
    return atlas, prepared


def test_labels_pass_through_the_template(finished: Path) -> None:
    """They land on the member's own ones, and much better than where the atlas lay; nothing is registered."""
    places, own = places_of(finished), truth(finished, "sub-3")
    atlases = [member_atlas(finished, number) for number in (1, 2)]
    found = carry("sub-3", places.image("sub-3"), atlases, places, THROUGH)
    assert found.sources == ["sub-1", "sub-2"]
    assert [sorted(row) for row in found.registrations] == [["atlas", "similarity_after"]] * 2
    for atlas, carried, row in zip(atlases, found.labels, found.registrations, strict=True):
        overlap, before = dice(carried, own), dice(read_labels(atlas.labels), own)
        assert overlap[1] > 0.8
        assert overlap[2] > 0.75
        assert overlap[2] > before[2] + 0.1
        assert row["similarity_after"] > 0.95


def test_an_atlas_from_elsewhere_is_registered_to_the_template(
    finished: Path, elsewhere: tuple[Atlas, Path]
) -> None:
    atlas, prepared = elsewhere
    entry = read_manifest(prepared)[atlas.key]
    assert entry["quality"]["similarity_after"] > 0.95
    places = places_of(finished, prepared)
    # to where the member that it is a copy of lies, and back
    points = np.random.default_rng(0).uniform(8, 16, (50, 3))
    forward, backward = places.forward(atlas.key), places.backward(atlas.key)
    distance = np.linalg.norm(forward(points) - AWAY - places.forward("sub-1")(points), axis=-1)
    assert distance.mean() < 0.5
    assert np.abs(backward(forward(points)) - points).max() < 0.1
    template, image = read_image(Layout(finished).template_image), places.image(atlas.key)
    warped = resample(image, template.grid, forward)
    assert np.corrcoef(warped.data.ravel(), template.data.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("route", ["direct", "template", "template_library"])
def test_an_atlas_from_elsewhere_labels_a_member(
    finished: Path, elsewhere: tuple[Atlas, Path], tmp_path: Path, route: str
) -> None:
    """The labels, published with their names and where they come from, are the member's own ones."""
    atlas, prepared = elsewhere
    settings = AtlasSettings(name="Far", route=route, registration=QUICK, fusion="majority")
    places = places_of(finished, prepared)
    if route == "template_library":
        register_library("sub-2", [atlas], places, tmp_path / "sub-2", settings)
        assert read_manifest(tmp_path / "sub-2")["sub-2"]["registrations"][0]["atlas"] == atlas.key
        places = replace(places, library=located([tmp_path / "sub-2"]))
    # what it reads is the study's, what it publishes goes into a folder of its own
    layout = shutil.copytree(finished, tmp_path / "results", ignore=shutil.ignore_patterns("work"))
    places = replace(places, layout=Layout(layout))
    names = tmp_path / "names.tsv"
    names.write_text("index\tname\n1\tshell\n2\tcore\n")
    atlas_batch(["sub-3"], [atlas], places, tmp_path / "out", str(names), settings)
    entry = read_manifest(tmp_path / "out")["sub-3"]
    station = "sub-2" if route == "template_library" else atlas.key
    assert [row["atlas"] for row in entry["registrations"]] == [station]
    fused = places.layout.fused("sub-3", "Far")
    overlap = dice(read_labels(fused), truth(finished, "sub-3"))
    assert overlap[1] > 0.8
    assert overlap[2] > 0.75
    table = read_label_table(fused.with_name(fused.name.replace(".nii.gz", ".tsv")))
    assert table.names == {1: "shell", 2: "core"}
    about = read_json(sidecar(fused))
    assert (about["Atlas"], about["Sources"]) == ("Far", [atlas.key])


def test_a_bad_atlas_of_a_table_is_set_aside(finished: Path, tmp_path: Path) -> None:
    """Members are labelled by the others; where nobody is left, they are set aside with the reason."""
    empty = Atlas("atlas-Empty", tmp_path / "empty.nii.gz", tmp_path / "empty.nii.gz", False)
    write_image(empty.image, Image(np.zeros((16,) * 3, np.float32), Grid((16,) * 3, np.eye(4))))
    library = tmp_path / "library"
    prepare_atlas(empty.key, empty.image, True, library, Layout(finished), PrepareSettings(), QUICK)
    entry = read_manifest(library)[empty.key]
    assert entry["status"] == "quarantined"
    assert "the value 0 in every voxel" in entry["reason"]
    places = places_of(finished, library)
    target = places.image("sub-3")
    found = carry("sub-3", target, [empty, member_atlas(finished, 1)], places, THROUGH)
    assert found.sources == ["sub-1"]
    with pytest.raises(InputError, match="sub-3: expected at least one usable atlas, found none"):
        carry("sub-3", target, [empty], places, THROUGH)


def test_labels_pass_through_a_template_library(finished: Path) -> None:
    places = replace(places_of(finished), library=located([finished / "work" / "template_library" / "sub-3"]))
    settings = AtlasSettings(route="template_library", registration=QUICK)
    atlases = [member_atlas(finished, 1)]
    found = carry("sub-2", places.image("sub-2"), atlases, places, settings)
    assert found.sources == ["sub-1"]
    assert found.registrations[0]["atlas"] == "sub-3"
    assert dice(found.labels[0], truth(finished, "sub-2"))[1] > 0.7
    # a member of the library itself needs no second step
    own = carry("sub-3", places.image("sub-3"), atlases, places, settings)
    assert own.registrations[0]["atlas"] == "sub-1"
    with pytest.raises(InputError, match="expected at least one usable atlas"):
        carry("sub-1", places.image("sub-1"), atlases, places, settings)


def test_through_template() -> None:
    grid = Grid((12, 12, 12), np.eye(4))
    bump = np.zeros((12, 12, 12, 3), np.float32)
    bump[4:8, 4:8, 4:8, 0] = 0.5
    atlas = Chain((Affine.from_parameters(translation=(2, 0, 0)), Displacement(bump, grid)))
    member = Chain((Displacement(-bump, grid), Affine.from_parameters(translation=(0, 1, 0))))
    found = through_template(atlas, member, grid)
    points = grid.to_world(np.argwhere(np.ones((12, 12, 12))))
    assert np.abs(found(points) - atlas(member(points))).max() < 1e-4
    # the displacement holds no part of the affines
    assert np.abs(found.transforms[0].matrix[:3, 3] - (2, 1, 0)).max() < 1e-9
