"""The whole workflow with a further image of most members: a symmetric template, then one that is frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regcore.groupwise import mirror
from regcore.image import Image
from regcore.io.nifti import read_image, write_image
from regcore.io.tables import read_json
from regcore.space import Grid
from tests.workflows import config_for, planned, snakemake

pytest.importorskip("snakemake", reason="the workflow needs the extra 'workflow'")

SHIFTS = {"a": -3.0, "b": 3.0, "c": 1.0, "d": None, "e": 4.0}
"""Where the blob of the second image of each member lies off its middle, mm; one member has no such image."""


def write_members(folder: Path, members: str) -> None:
    """Table of members whose first images are one ball, and whose second images show a blob in it."""
    x = 2.0 * (np.indices((24, 24, 24)) - 11.5)
    grid = Grid((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))

    def ball(radius: float, off: tuple[float, float]) -> Any:
        middle = np.array([off[0], off[1], 0.0])[:, None, None, None]
        return 1 / (1 + np.exp(np.linalg.norm(x - middle, axis=0) - radius))

    rows = ["participant_id\timage\tT2w"]
    for number, name in enumerate(members):
        shift, noise = SHIFTS[name], np.random.default_rng(number).normal(0, 4, grid.shape)
        write_image(
            folder / f"{name}.nii.gz", Image((500 * ball(15, (0, 0)) + noise).astype(np.float32), grid)
        )
        if shift is not None:
            # more to one side than to the other, so that only what is made symmetric is so
            second = 300 * ball(15, (0, 0)) + 400 * ball(7, (1, shift))
            write_image(folder / f"{name}_T2w.nii.gz", Image(second.astype(np.float32), grid))
        rows.append(f"sub-{name}\t{name}.nii.gz\t{'n/a' if shift is None else f'{name}_T2w.nii.gz'}")
    (folder / "cohort.tsv").write_text("\n".join(rows) + "\n")


def config_of(folder: Path, metric: str, weight: float, **template: Any) -> dict[str, Any]:
    config = config_for(folder, targets=["template", "population"], atlas={})
    config["cohort"]["channels"] = {"T2w": {"metric": metric, "weight": weight}}
    deformable = {"shrink": [2, 1], "iterations": [20, 15]}
    config["template"] |= {
        "sharpen": False,
        "stages": [{"name": "deformable", "repeats": 2, "deformable": deformable}],
        **template,
    }
    return config


def blob_of(file: Path) -> float:
    """Where the middle of the blob lies along the axis of the shifts, mm."""
    image = read_image(file)
    bright = np.clip(image.data - 0.75, 0, None).sum(axis=(0, 2), dtype=float)
    along = image.grid.to_world(np.stack([0 * bright, np.arange(bright.size), 0 * bright], axis=-1))[:, 1]
    return float(bright @ along / bright.sum())


def warped(results: Path, name: str) -> Path:
    return results / f"sub-{name}" / "anat" / f"sub-{name}_space-Tiny_desc-preproc_T2w.nii.gz"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channels")
    write_members(folder, "abcd")
    found = snakemake(folder, config_of(folder, "ssd", 20.0, symmetric=True))
    assert found.returncode == 0, found.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_workflow_matches_and_averages_a_second_image(built: Path) -> None:
    results = built / "results"
    template = results / "tpl-Tiny" / "tpl-Tiny_res-01_T2w.nii.gz"
    variance = template.with_name("tpl-Tiny_res-01_desc-variance_T2w.nii.gz")
    for file in (template, variance, results / "work" / "template" / "02" / "target_channel_T2w.nii"):
        image = read_image(file)
        assert image.data.max() > 0
        assert np.array_equal(image.data, mirror(image).data), file
    about = read_json(template.with_name("tpl-Tiny_res-01_T2w.json"))
    assert about["Description"] == "Average of 3 members that have this image"
    assert not warped(results, "d").exists()
    # the blobs lie up to 6 mm apart, and only the second images show it
    assert np.ptp([blob_of(warped(results, name)) for name in "abc"]) < 1.5
    # weight and measure are settings of the registration, and of nothing before it
    counts = planned(built, config_of(built, "ssd", 10.0, symmetric=True))
    assert counts["register_last"] == 2
    assert "prepare_batch" not in counts


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "moved"), [("lncc", True), ("ssd", False)])
def test_workflow_adds_a_member_to_a_frozen_template(
    built: Path, tmp_path: Path, metric: str, moved: bool
) -> None:
    """A newcomer is matched to the template's second image; a weight of 2 is too little for ssd."""
    write_members(tmp_path, "ae")
    frozen = built / "results" / "tpl-Tiny"
    found = snakemake(tmp_path, config_of(tmp_path, metric, 2.0, frozen=str(frozen)))
    assert found.returncode == 0, found.stderr[-3000:]
    results = tmp_path / "results"
    given = frozen / "tpl-Tiny_res-01_T2w.nii.gz"
    assert (results / "tpl-Tiny" / given.name).read_bytes() == given.read_bytes()
    for iteration in ("00", "01"):
        target = read_image(results / "work" / "template" / iteration / "target_channel_T2w.nii")
        assert np.array_equal(target.data, read_image(given).data)
    reference = read_json(
        warped(results, "e").with_name(warped(results, "e").name.replace(".nii.gz", ".json"))
    )
    assert (results / reference["SpatialReference"].removeprefix("bids::")).is_file()
    assert (abs(blob_of(warped(results, "e")) - blob_of(given)) < 1) == moved


@pytest.mark.slow
def test_workflow_refuses_a_given_template_without_the_image(built: Path, tmp_path: Path) -> None:
    write_members(tmp_path, "ae")
    folder = tmp_path / "tpl-Tiny"
    for file in (built / "results" / "tpl-Tiny").glob("*T1w*"):
        (folder / file.name).parent.mkdir(exist_ok=True)
        (folder / file.name).write_bytes(file.read_bytes())
    found = snakemake(tmp_path, config_of(tmp_path, "ssd", 2.0, frozen=str(folder)), "--dry-run")
    assert found.returncode != 0
    assert (
        "config cohort.channels: expected an image tpl-Tiny_res-01_T2w.nii.gz in template.frozen"
        in found.stderr
    )
    assert not (tmp_path / "results").exists()
