"""A template that is given: frozen, or what a rebuild starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.itk import read_transform
from regcore.io.nifti import read_image, write_image
from regcore.io.tables import read_json, read_table
from regcore.registration import RegistrationSettings
from regcore.space import Grid
from regcore.study.config import Study
from regcore.study.gather import gather_template
from regcore.study.given import (
    given_template,
    hold_template,
    publish_given,
    read_given,
    read_given_channels,
    start_batch,
)
from regcore.study.manifest import read_manifest, write_manifest
from regcore.study.outputs import Layout, find_given, known_transform, sidecar
from regcore.study.population import population_batch
from regcore.study.settings import DatasetSettings, PopulationSettings, TemplateStage
from regcore.study.template import register_batch
from regcore.study.weighing import QC

KEYS = ("sub-1", "sub-2", "sub-3")
LINEAR = {"linear": [{"shrink": [2], "iterations": [5], "rotations_deg": 0}], "deformable": None}


def stage(name: str) -> TemplateStage:
    return TemplateStage(name, 1, RegistrationSettings.from_dict(LINEAR))


@pytest.fixture(scope="module")
def held(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One held iteration to the tiny study's template; sub-3 comes with another image of that name."""
    root = tmp_path_factory.mktemp("given")
    files = find_given(finished / "tpl-Study", "T1w", "template.frozen")
    prepared = []
    for key in KEYS:
        folder = root / "prepared" / key
        entry = read_manifest(finished / "work" / "prepared" / key)[key]
        if key == "sub-3":
            entry["digest"] = "another"
        write_manifest(folder, {key: entry})
        image = finished / "work" / "prepared" / key / entry["image"]
        (folder / entry["image"]).write_bytes(image.read_bytes())
        prepared.append(folder)
    known = {key: known_transform(finished / "tpl-Study", "T1w", key) for key in KEYS}
    given_template(files, root / "grid.json", root / "template" / "00", True)
    start_batch(
        prepared,
        root / "template" / "00",
        root / "grid.json",
        root / "register" / "00",
        {key: path for key, path in known.items() if path is not None},
        ["affine"],
    )
    register_batch(
        prepared,
        root / "register" / "00",
        root / "template" / "00",
        root / "register" / "01",
        stage("affine"),
    )
    hold_template(
        [root / "register" / "01"], root / "template" / "00", root / "template" / "01", 1, "affine", True
    )
    return root


def test_members_of_the_template_keep_their_transforms(finished: Path, held: Path) -> None:
    before = read_manifest(held / "register" / "00")
    assert [bool(before[key].get("held")) for key in KEYS] == [True, True, False]
    template = read_image(held / "template" / "01" / "template.nii.gz")
    given = read_image(finished / "tpl-Study" / "tpl-Study_res-01_T1w.nii.gz")
    assert np.array_equal(template.data, given.data)
    points = template.grid.centre + np.random.default_rng(0).uniform(-5, 5, (40, 3))
    layout = Layout(finished)
    for key in ("sub-1", "sub-2"):
        kept = read_transform(held / "register" / "01" / f"{key}_xfm.h5")
        assert np.abs(kept(points) - read_transform(layout.forward(key))(points)).max() < 1e-4
    # the stranger was registered anew, and only it is a row of the table
    rows = read_table(held / "template" / "01" / QC)
    assert rows.loc[~rows["held"], "participant_id"].tolist() == ["sub-3"]
    assert rows["weight"].tolist() == [1.0, 1.0, 1.0]
    state = read_json(held / "template" / "01" / "convergence.json")["rows"]
    assert [row["members"] for row in state] == [3]
    assert state[0]["template_change"] == 0


def test_frozen_template_is_published_as_it_is(finished: Path, held: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    prepared = [held / "prepared" / key for key in KEYS]
    population = tmp_path / "population"
    population_batch(
        prepared, held / "register" / "01", held / "template" / "01", None, population, layout, {}, None,
        PopulationSettings(),
    )  # fmt: skip
    files = find_given(finished / "tpl-Study", "T1w", "template.frozen")
    publish_given([population], held / "template" / "01", files, layout, DatasetSettings())
    for name in ("template", "mask"):
        ours, theirs = layout.published()[name], Layout(finished).published()[name]
        assert np.array_equal(read_image(ours).data, read_image(theirs).data)
    certificate = read_json(layout.published()["certificate"])
    assert certificate["frozen"] == "Study"
    assert certificate["members_mean_displacement_mm"] < 0.3
    assert read_json(layout.template_description) == read_json(Layout(finished).template_description)
    # what is published can be known again
    digest = read_json(sidecar(layout.forward("sub-1")))["SourceDigest"]
    assert digest == read_manifest(held / "prepared" / "sub-1")["sub-1"]["digest"]


def test_rebuild_starts_from_the_template(held: Path, tmp_path: Path) -> None:
    """The last stage registers everyone and averages, from where the held stages left them."""
    prepared = [held / "prepared" / key for key in KEYS]
    output = tmp_path / "02"
    register_batch(prepared, held / "register" / "01", held / "template" / "01", output, stage("fine"))
    assert all("held" not in entry for entry in read_manifest(output).values())
    gather_template([output], [held / "template" / "01"], tmp_path / "template", 2, "fine", True, 0.1)
    rows = read_json(tmp_path / "template" / "convergence.json")["rows"]
    assert [row["stage"] for row in rows] == ["affine", "fine"]
    assert 0 < rows[1]["template_change"] < 0.2
    assert rows[1]["rms_shape_update_mm"] < 1


def test_template_from_elsewhere(tmp_path: Path) -> None:
    """One that TemplateFlow holds: another scale of intensities, several resolutions, no foreground mask."""
    folder = tmp_path / "tpl-MNI"
    grid = Grid((20, 20, 20), np.eye(4))
    data = np.zeros(grid.shape, np.float32)
    data[5:15, 5:15, 5:15] = np.linspace(80, 200, 1000).reshape(10, 10, 10)
    for name in ("res-02_T1w", "res-01_T1w", "res-01_desc-brain_T1w"):
        write_image(folder / f"tpl-MNI_{name}.nii.gz", Image(data, grid))
    files = find_given(folder, "T1w", "template.frozen")
    assert {name: path.name for name, path in files.items()} == {"image": "tpl-MNI_res-01_T1w.nii.gz"}
    image, mask = read_given(files)
    assert image.data.max() == 1
    assert mask.data.sum() == 1000
    # its further images come to the scale of the members and to its grid
    coarse = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    write_image(folder / "tpl-MNI_res-01_PD.nii.gz", Image(data[::2, ::2, ::2], coarse))
    files = find_given(folder, "T1w", "template.frozen", ["PD"])
    ((name, channel),) = read_given_channels(files, mask)
    assert (name, channel.grid.matches(grid)) == ("PD", True)
    assert channel.data.max() == 1
    away = np.eye(4)
    away[:3, 3] = 500
    write_image(files["PD"], Image(data, Grid(grid.shape, away)))
    with pytest.raises(InputError, match="expected an image that lies where the template does"):
        list(read_given_channels(files, mask))
    missing = (
        r"config cohort.channels: expected an image tpl-MNI_res-01_T2w.nii.gz in template.start .*tpl-MNI to "
        "match T2w with, found none: add it there, or leave T2w out of cohort.channels"
    )
    with pytest.raises(InputError, match=missing):
        find_given(folder, "T1w", "template.start", ["PD", "T2w"])
    with pytest.raises(InputError, match=r"expected an image tpl-MNI_res-01_T2w.nii.gz, found none"):
        find_given(folder, "T2w", "template.frozen")
    with pytest.raises(InputError, match=r"config template.start: expected a folder tpl-<Name>"):
        find_given(tmp_path, "T1w", "template.start")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"frozen": "a/tpl-Old", "start": "a/tpl-Old"}, "expected null beside template.frozen, found both"),
        ({"frozen": "a/tpl-Old", "name": "New"}, "expected Old, the name of the frozen template, found New"),
        ({"start": "a/tpl-Old", "spacing_mm": 2}, "since template.start gives the voxels, found 2"),
        ({"start": "results/tpl-Old"}, "expected a folder outside results"),
    ],
)
def test_impossible_settings_are_refused(template: dict[str, object], message: str) -> None:
    stages = [{"name": "rigid", "linear": [{}]}]
    with pytest.raises(InputError, match=message):
        Study.from_dict({"cohort": {"source": "x"}, "template": {"stages": stages, **template}})


def test_stages_that_hold() -> None:
    stages = [{"name": name, "repeats": 3, "linear": [{}]} for name in ("rigid", "affine")]
    settings = {"frozen": {"name": "Old", "frozen": "a/tpl-Old"}, "start": {"start": "a/tpl-Old"}}
    found = {}
    for key, template in settings.items():
        study = Study.from_dict({"cohort": {"source": "x"}, "template": {"stages": stages, **template}})
        found[key] = [each.name for each in study.template.iterations]
    assert found == {"frozen": ["rigid", "affine"], "start": ["rigid", "affine", "affine", "affine"]}


def test_prepared_images_can_be_known_again(finished: Path) -> None:
    digests = [read_manifest(finished / "work" / "prepared" / key)[key]["digest"] for key in KEYS]
    assert len(set(digests)) == 3
