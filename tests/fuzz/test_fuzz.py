"""A short run of the fuzzer, and cases too large for it; tests/fuzz/__main__.py is the long one."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("resource", reason="limits of memory are Unix's")
if not Path("/proc/self/clear_refs").exists():
    pytest.skip("the fuzzer measures memory through Linux' /proc", allow_module_level=True)

from regcore.errors import DamagedFileError, InputError
from regcore.io.itk import read_transform, write_transform
from regcore.io.limits import LARGEST_IMAGE_VARIABLE
from regcore.io.nifti import read_grid, read_image
from regcore.io.tables import read_rows, read_text, read_yaml
from regcore.transforms import Affine
from tests.fuzz.__main__ import run_apart, shares
from tests.fuzz.kinds import KINDS
from tests.fuzz.seeds import metaimage, nifti

FEW = shares(1500)


@pytest.mark.slow
@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_no_case_does_harm(name: str) -> None:
    found = run_apart(name, FEW[name], seed=1)
    assert found["failure"] is None, found
    assert found["cases"] >= 5


def header(**fields: int) -> bytes:
    """A NIfTI-1 file that announces so many voxels, and holds next to none."""
    data = bytearray(nifti())
    struct.pack_into("<8h", data, 40, 3, fields["x"], fields["y"], fields["z"], 1, 1, 1, 1)
    return bytes(data)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_announces_terabytes(tmp_path: Path, name: str) -> None:
    content = header(x=32767, y=32767, z=32767)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    for read in (read_image, read_grid):
        with pytest.raises(InputError, match="bytes of voxels, found at most"):
            read(tmp_path / name)


def test_a_bomb_is_not_unpacked_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LARGEST_IMAGE_VARIABLE, "0.01")
    bomb = gzip.compress(header(x=512, y=512, z=64)) + gzip.compress(bytes(2**25)) * 4
    (tmp_path / "a.nii.gz").write_bytes(bomb)
    with pytest.raises(InputError, match=r"at most 0\.01 GiB of voxels, found a header that announces"):
        read_image(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti()) + gzip.compress(bytes(2**25)) * 4)
    with pytest.raises(InputError, match="found many more behind them"):
        read_image(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("text", ["no", "0", "-1", "nan"])
def test_a_limit_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(LARGEST_IMAGE_VARIABLE, text)
    (tmp_path / "a.nii").write_bytes(nifti())
    with pytest.raises(InputError, match=f"{LARGEST_IMAGE_VARIABLE}: expected a number"):
        read_image(tmp_path / "a.nii")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.raw", "LIST", "%03d.raw 1 2 1", "C:\\secret", "none.raw"]
)
def test_a_header_that_points_elsewhere(tmp_path: Path, name: str) -> None:
    pytest.importorskip("SimpleITK")
    (tmp_path / "secret.raw").write_bytes(bytes(240))
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.mhd").write_bytes(metaimage(".mhd").split(b"LOCAL")[0] + name.encode() + b"\n")
    (folder / "a.nhdr").write_bytes(
        metaimage(".nrrd").split(b"\n\n")[0] + b"\ndata file: " + name.encode() + b"\n\n"
    )
    for file in ("a.mhd", "a.nhdr"):
        with pytest.raises(InputError, match="expected its voxels in the file or in one file beside it"):
            read_image(folder / file)


def test_a_header_with_its_voxels_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    head, voxels = metaimage(".mhd").split(b"LOCAL\n")
    (tmp_path / "a.mhd").write_bytes(head + b"voxels.raw\n")
    (tmp_path / "voxels.raw").write_bytes(voxels)
    assert read_image(tmp_path / "a.mhd").data.ravel(order="F")[:3].tolist() == [0, 1, 2]


def test_a_transform_of_ours_is_read_only_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_transform(path, Affine.from_parameters(translation=(1, 2, 3)))
    sound = path.read_bytes()
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(sound) - 16, 200):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << generator.integers(8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(DamagedFileError, match="expected the bytes that were written"):
            read_transform(path)
    path.write_bytes(sound[:-40])
    # without its seal it may be any program's file, unless one of ours was asked for
    assert read_transform(path)([0, 0, 0]).tolist() == [1, 2, 3]
    with pytest.raises(DamagedFileError):
        read_transform(path, sealed=True)


def test_what_never_ends_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tsv")
    for path in (tmp_path / "pipe.tsv", Path("/dev/zero"), tmp_path):
        with pytest.raises(InputError, match="found a folder or a device"):
            read_text(path)
    (tmp_path / "a.tsv").write_text("a\tb\n" + "\n" * 1_000_001)
    with pytest.raises(InputError, match="expected at most 1000000 rows"):
        read_rows(tmp_path / "a.tsv")


def test_anchors_that_multiply(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    (tmp_path / "a.yaml").write_text("\n".join(rows))
    with pytest.raises(InputError, match="anchors that repeat"):
        read_yaml(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("a: !!python/object/apply:os.system ['touch PWNED']\n")
    with pytest.raises(InputError, match="could not determine a constructor for the tag"):
        read_yaml(tmp_path / "a.yaml")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.yaml"]
