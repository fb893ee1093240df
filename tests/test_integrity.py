"""Files of ours that were damaged: a job that meets one ends and moves its folder aside, nothing else."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regcore.errors import DamagedFileError, InputError
from regcore.io.arrays import read_arrays, write_arrays
from regcore.io.itk import read_transform, write_transform
from regcore.study.integrity import DAMAGED, seal_folder, verify_folder
from regcore.study.job import job
from regcore.study.manifest import good, located, read_manifest, write_manifest
from regcore.study.outputs import Layout
from regcore.transforms import Affine

SHIFT = Affine.from_parameters(translation=(1, 2, 3))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of a batch of two members, and a file of the user's beside them."""
    results = tmp_path / "results"
    # a subject of one session: the job that passes it on and the one that chains it publish transforms of it
    for folder, space, key in (
        ("register/02/b0001", None, "sub-a"),
        ("population/b0001", "Tiny", "sub-a"),
        ("prepared/sub-c", "subject", "sub-c_ses-1"),
        ("chained/sub-c", "Tiny", "sub-c_ses-1"),
    ):
        work = results / "work" / folder
        work.mkdir(parents=True)
        for each in ("sub-a", "sub-b"):
            write_transform(work / f"{each}_xfm.h5", SHIFT)
        write_arrays(work / "partial_sum.npz.gz", {"sum": np.arange(9.0)})
        published = [] if space is None else Layout(results, space).transforms([key])
        for file in published:
            write_transform(file, SHIFT)
        entries = {each: good(transform=f"{each}_xfm.h5") for each in ("sub-a", "sub-b")}
        write_manifest(work, entries, published)
    (tmp_path / "mine.tsv").write_text("mine\n")
    return results


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


READS: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "work/register/02/b0001/sub-a_xfm.h5",
        lambda path: read_transform(path, sealed=True),
        "register/02/b0001",
    ),
    ("work/register/02/b0001/partial_sum.npz.gz", read_arrays, "register/02/b0001"),
    ("work/register/02/b0001/sub-b_xfm.h5", lambda path: located([path.parent]), "register/02/b0001"),
    ("work/population/b0001/manifest.json", lambda path: located([path.parent]), "population/b0001"),
    (
        "sub-a/anat/sub-a_from-T1w_to-Tiny_mode-image_xfm.h5",
        lambda path: read_transform(path, sealed=True),
        "population/b0001",
    ),
    (
        "sub-c/ses-1/anat/sub-c_ses-1_from-T1w_to-subject_mode-image_xfm.h5",
        lambda path: read_transform(path, sealed=True),
        "prepared/sub-c",
    ),
    (
        "sub-c/ses-1/anat/sub-c_ses-1_from-Tiny_to-T1w_mode-image_xfm.h5",
        lambda path: read_transform(path, sealed=True),
        "chained/sub-c",
    ),
]


@pytest.mark.parametrize(("damaged", "read", "moved"), READS)
def test_a_job_moves_what_is_damaged_aside(
    results: Path, damaged: str, read: Callable[[Path], object], moved: str
) -> None:
    flip(results / damaged)
    work, before = results / "work", {file for file in results.parent.rglob("*") if file.is_file()}
    content = {file.name for file in (work / moved).iterdir()}
    log = work / "logs" / "population_batch" / "b0001.log"
    with (
        pytest.raises(SystemExit, match=r"found others \(damaged\); start again to have it made anew"),
        job(log),
    ):
        read(results / damaged)
    assert [file.name for file in (work / DAMAGED).iterdir()] == [moved.replace("/", "_")]
    assert not (work / moved).exists()
    assert {file.name for file in (work / DAMAGED / moved.replace("/", "_")).iterdir()} == content
    after = {file for file in results.parent.rglob("*") if file.is_file()}
    assert len(after - {log}) == len(before)
    assert {file for file in before if work / moved not in file.parents} <= after
    assert "ERROR" in log.read_text()


def test_truncated_and_missing_files_are_damaged_too(results: Path) -> None:
    folder = results / "work" / "population" / "b0001"
    file = folder / "sub-a_xfm.h5"
    file.write_bytes(file.read_bytes()[:-100])
    for read in (lambda: verify_folder(folder), lambda: read_transform(file, sealed=True)):
        with pytest.raises(DamagedFileError, match=r"sub-a_xfm\.h5: expected the bytes"):
            read()
    file.unlink()
    with pytest.raises(DamagedFileError):
        verify_folder(folder)
    with pytest.raises(DamagedFileError):
        read_transform(file, sealed=True)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DamagedFileError):
        read_manifest(folder)


def test_nothing_outside_the_working_folder_is_moved(results: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    write_transform(mine / "start.h5", SHIFT)
    flip(mine / "start.h5")
    with (
        pytest.raises(SystemExit, match="delete it and start again"),
        job(results / "work" / "logs" / "a.log"),
    ):
        read_transform(mine / "start.h5")
    assert (mine / "start.h5").exists()
    assert not (results / "work" / DAMAGED).exists()


def test_folders_without_checksums_are_of_another_version(results: Path) -> None:
    folder = results / "work" / "population" / "b0001"
    (folder / "checksums.json").unlink()
    with pytest.raises(DamagedFileError, match=r"checksums\.json"):
        verify_folder(folder)
    seal_folder(folder)
    verify_folder(folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_system_refuses_is_one_line(tmp_path: Path, number: int) -> None:
    with pytest.raises(SystemExit) as ended, job(tmp_path / "logs" / "a.log"):
        raise OSError(number, "No luck", "results/sub-01")
    assert str(ended.value) == "results/sub-01: No luck; mend this and start again"
    with pytest.raises(SystemExit, match="expected"), job(tmp_path / "logs" / "b.log"):
        raise InputError("a: expected b, found c")
