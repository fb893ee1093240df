"""Several images of each member: read, prepared, matched under one transform, each with a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regcore.errors import InputError
from regcore.groupwise import mirror
from regcore.image import Image
from regcore.io.cohort import Member, read_cohort
from regcore.io.nifti import read_image, write_image
from regcore.io.tables import read_json, read_table
from regcore.space import Grid
from regcore.study.config import Study
from regcore.study.gather import gather_template
from regcore.study.given import given_template, hold_template, publish_given, start_batch
from regcore.study.manifest import read_manifest
from regcore.study.outputs import Layout, find_given, sidecar
from regcore.study.population import population_batch
from regcore.study.prepare import prepare_batch
from regcore.study.publish import publish_template
from regcore.study.quarantine import list_quarantine
from regcore.study.settings import (
    ChannelSettings,
    DatasetSettings,
    PopulationSettings,
    PrepareSettings,
    TemplateStage,
)
from regcore.study.template import centre_batch, register_batch, template_grid

SIZE = 32
DEFORMABLE = {"metric": "lncc", "radius": 2, "shrink": [2, 1], "iterations": [20, 15]}
MATCHED = {"T2w": ChannelSettings(1.0, "lncc")}
STAGES: list[dict[str, Any]] = [
    {"name": "rigid", "linear": [{"model": "rigid", "shrink": [2], "iterations": [10], "rotations_deg": 0}]},
    {"name": "fine", "repeats": 2, "deformable": DEFORMABLE},
]


def table_of(folder: Path, rows: list[str]) -> Path:
    for name in ("a", "b", "at2"):
        (folder / f"{name}.nii").write_bytes(b"-")
    path = folder / "cohort.tsv"
    path.write_text("\n".join(["participant_id\timage\tT2w\tage", *rows]) + "\n")
    return path


def test_channels_of_a_table(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["a\ta.nii\tat2.nii\t3", "b\tb.nii\tn/a\t4"])
    first, second = read_cohort(table, channels=["T2w"])
    assert first.channels == {"T2w": tmp_path / "at2.nii"}
    assert second.channels == {}
    assert first.covariates == {"age": 3}
    # unless it is asked for, the column is a covariate like any other
    assert read_cohort(table)[0].covariates == {"T2w": "at2.nii", "age": 3}
    with pytest.raises(InputError, match="expected the column FLAIR"):
        read_cohort(table, channels=["FLAIR"])
    none = table_of(tmp_path, ["a\ta.nii\tn/a\t3"])
    with pytest.raises(InputError, match="expected an image T2w of at least one member, found none"):
        read_cohort(none, channels=["T2w"])


def test_channels_of_a_bids_folder(tmp_path: Path) -> None:
    for subject, suffixes in {"01": ("T1w", "T2w"), "02": ("T1w",)}.items():
        anat = tmp_path / f"sub-{subject}" / "anat"
        anat.mkdir(parents=True)
        for suffix in suffixes:
            (anat / f"sub-{subject}_{suffix}.nii.gz").write_bytes(b"-")
    first, second = read_cohort(tmp_path, channels=["T2w"])
    assert first.channels["T2w"].name == "sub-01_T2w.nii.gz"
    assert second.channels == {}


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({"mask": {}}, "config cohort.channels: expected other names than T1w and participant_id"),
        ({"T1w": {}}, "found T1w"),
        ({"T2w": {"weight": 0}}, "config cohort.channels.T2w.weight: expected more than 0, found 0"),
        ({"T2w": {"metric": "best"}}, "config cohort.channels.T2w.metric: expected one of ssd"),
        (
            {"T2-w": {}},
            "config cohort.channels: expected names of letters and digits, at most 64, found .T2-w.",
        ),
    ],
)
def test_channels_that_cannot_work_are_refused(channels: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Study.from_dict(
            {"cohort": {"source": "cohort.tsv", "channels": channels}, "template": {"stages": STAGES}}
        )


def write_pair(folder: Path, number: int) -> Member:
    """A T1w image of a plain ball, and a T2w image on a coarser grid that shows a blob off its middle."""
    grid, coarse = Grid((SIZE,) * 3, np.eye(4)), Grid((16,) * 3, np.diag([2.0, 2.0, 2.0, 1.0]))
    shift = (-2.0, 0.0, 2.0)[number % 3]

    def points(of: Grid) -> Any:
        voxels = np.stack(np.meshgrid(*map(np.arange, of.shape), indexing="ij"), axis=-1)
        return of.to_world(voxels.reshape(-1, 3)).reshape(*of.shape, 3) - 15.5

    x = points(grid)
    ball = 1 / (1 + np.exp(2 * (np.linalg.norm(x, axis=-1) - 11)))
    y = points(coarse)
    blob = 1 / (1 + np.exp(1.5 * (np.linalg.norm(y - (0, shift, 0), axis=-1) - 4.5)))
    outside = 1 / (1 + np.exp(2 * (np.linalg.norm(y, axis=-1) - 11)))
    files = folder / f"{number}_T1w.nii.gz", folder / f"{number}_T2w.nii.gz"
    noise = np.random.default_rng(number).normal(0, 3, grid.shape)
    write_image(files[0], Image((500 * ball + noise).astype(np.float32), grid))
    write_image(files[1], Image((300 * outside + 400 * blob).astype(np.float32), coarse))
    return Member(str(number), None, files[0], channels={"T2w": files[1]} if number < 3 else {})


def stages() -> tuple[TemplateStage, ...]:
    study = Study.from_dict({"cohort": {"source": "cohort.tsv"}, "template": {"stages": STAGES}})
    return study.template.iterations


def build(root: Path, channels: dict[str, ChannelSettings], symmetric: bool = False) -> Layout:
    """The template of three members with both images and one without the second."""
    layout = Layout(root / "results")
    members = [write_pair(root, number) for number in range(4)]
    prepared = [root / "prepared" / member.key for member in members]
    for member, folder in zip(members, prepared, strict=True):
        prepare_batch([member], folder, PrepareSettings())
    template_grid(prepared, root / "grid.json", None, symmetric)
    registered, template = root / "register" / "00", root / "template" / "00"
    centre_batch(prepared, root / "grid.json", registered)
    gather_template([registered], [], template, 0, "centre", True, 0.01, symmetric)
    for number, stage in enumerate(stages(), start=1):
        before, last = registered, template
        registered, template = root / f"register/{number:02d}", root / f"template/{number:02d}"
        register_batch(prepared, before, last, registered, stage, channels)
        gather_template([registered], [last], template, number, stage.name, True, 0.01, symmetric)
    population = root / "population"
    population_batch(prepared, registered, template, None, population, layout, {}, None, PopulationSettings())
    files = {
        "template": layout.template_image,
        "mask": layout.template_mask,
        "variance": layout.of_template("desc-variance_T1w.nii.gz"),
        "sharpened": layout.of_template("desc-sharpened_T1w.nii.gz"),
        "certificate": layout.of_template("desc-bias_certificate.json"),
    }
    publish_template([population], template, files, layout, symmetric=symmetric)
    return layout


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return build(tmp_path_factory.mktemp("together"), MATCHED)


def spread(layout: Layout) -> float:
    """Root mean variance of the second image over the members."""
    variance = read_image(layout.of_template("desc-variance_T2w.nii.gz")).data
    return float(np.sqrt(variance.mean()))


def is_symmetric(file: Path) -> bool:
    image = read_image(file)
    return np.array_equal(image.data, mirror(image).data)


def test_second_image_guides_the_registration(together: Layout, tmp_path: Path) -> None:
    """What only the second image shows is matched if it is a channel; either way it gets a template."""
    alone = build(tmp_path / "alone", {})
    assert spread(together) < 0.6 * spread(alone)
    template = read_image(together.of_template("T2w.nii.gz"))
    assert template.grid.matches(read_image(together.template_image).grid)
    about = read_json(together.of_template("T2w.json"))
    assert about["Description"] == "Average of 3 members that have this image"
    assert read_json(together.of_template("T1w.json"))["Description"].startswith("Average of 4 members")
    # a member without the second image is registered by the first
    warped = "space-Study_desc-preproc_T2w.nii.gz"
    assert together.warped("sub-3").exists()
    assert not together.member("sub-3", warped).exists()
    first = read_image(together.member("sub-0", warped))
    assert np.corrcoef(first.data.ravel(), template.data.ravel())[0, 1] > 0.97


def test_second_image_of_a_symmetric_template(together: Layout, tmp_path: Path) -> None:
    """Both template and target, to the last bit; those of a template that is not symmetric are not."""
    for layout, symmetric in ((build(tmp_path, MATCHED, symmetric=True), True), (together, False)):
        target = layout.results.parent / "template" / "03" / "target_channel_T2w.nii"
        for file in (target, *map(layout.of_template, ("T2w.nii.gz", "desc-variance_T2w.nii.gz"))):
            assert is_symmetric(file) == symmetric, file
        assert read_json(layout.of_template("T2w.json"))["Symmetric"] == symmetric
        assert read_image(layout.of_template("T2w.nii.gz")).data.max() > 0.5


def test_second_image_of_a_frozen_template(together: Layout, tmp_path: Path) -> None:
    """A newcomer, alone in its study, is matched to the template's own second image, which stays as it is."""
    files = find_given(together.results / "tpl-Study", "T1w", "template.frozen", ["T2w"])
    prepared = [tmp_path / "prepared"]
    prepare_batch([write_pair(tmp_path, 2)], prepared[0], PrepareSettings())
    registered, template, grid = tmp_path / "r0", tmp_path / "t0", tmp_path / "grid.json"
    given_template(files, grid, template, True)
    start_batch(prepared, template, grid, registered, {}, [])
    for number, stage in enumerate(stages()[:2], start=1):
        before, last = registered, template
        registered, template = tmp_path / f"r{number}", tmp_path / f"t{number}"
        register_batch(prepared, before, last, registered, stage, MATCHED)
        hold_template([registered], last, template, number, stage.name, True)
    layout, population = Layout(tmp_path / "results"), tmp_path / "population"
    population_batch(prepared, registered, template, None, population, layout, {}, None, PopulationSettings())
    publish_given([population], template, files, layout, DatasetSettings())
    ours, theirs = (each.of_template("T2w.nii.gz") for each in (layout, together))
    assert ours.read_bytes() == theirs.read_bytes()
    assert layout.of_template("desc-variance_T2w.nii.gz").exists()
    warped = layout.member("sub-2", "space-Study_desc-preproc_T2w.nii.gz")
    reference = read_json(sidecar(warped))["SpatialReference"]
    assert (layout.results / reference.removeprefix("bids::")).is_file()
    # the blob lay 2 mm from that of the template, which only the second image shows
    assert np.abs(blob_of(warped) - blob_of(theirs)).max() < 0.7
    assert np.abs(blob_of(prepared[0] / "sub-2_T2w_image.nii.gz") - blob_of(theirs)).max() > 1.5


def blob_of(file: Path) -> Any:
    """World coordinates of the middle of the blob."""
    image = read_image(file)
    bright = np.clip(image.data - 0.7, 0, None)
    return image.grid.to_world(
        (np.indices(bright.shape).reshape(3, -1) @ bright.ravel())[None] / bright.sum()
    )


def test_a_bad_second_image_is_left_out(tmp_path: Path) -> None:
    """The member stays; the image is listed with the reason."""
    member = write_pair(tmp_path, 0)
    elsewhere = np.diag([1.0, 1.0, 1.0, 1.0])
    elsewhere[:3, 3] = 500
    for number, (grid, value) in enumerate([(np.eye(4), 0.0), (elsewhere, 1.0)]):
        data = np.full((SIZE,) * 3, value, np.float32)
        data[0] *= 2
        write_image(member.channels["T2w"], Image(data, Grid(data.shape, grid)))
        folder = tmp_path / f"prepared{number}"
        prepare_batch([member], folder, PrepareSettings())
        entry = read_manifest(folder)["sub-0"]
        assert entry["status"] == "ok"
        assert entry["channels"] == {}
        list_quarantine([folder], {}, tmp_path / "quarantine.tsv")
        row = read_table(tmp_path / "quarantine.tsv").iloc[0]
        assert row["stage"] == "channel T2w"
        expected = ("the value 0 in every voxel", "expected an image that lies where the first does")[number]
        assert expected in row["reason"]
