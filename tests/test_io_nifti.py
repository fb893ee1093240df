"""Images on disk: what is written comes back, and bad files are refused in one line."""

from __future__ import annotations

import contextlib
import gzip
import struct

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.atomic import atomic_path
from regcore.io.cohort import Member
from regcore.io.nifti import read_grid, read_image, read_labels, read_mask, write_image
from regcore.io.screen import screen_image, screen_member
from regcore.space import Grid
from regcore.transforms import Affine

OBLIQUE = Affine.from_parameters((10, -20, 5), (0.2, 0.3, -0.1)).matrix @ np.diag([-0.8, 1.1, 3.0, 1.0])


def ramp(shape=(9, 10, 11), dtype=np.float32, affine=OBLIQUE):
    return Image(np.arange(np.prod(shape)).reshape(shape).astype(dtype), Grid(shape, affine))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    dtype=st.sampled_from(["uint8", "int16", "int32", "float32", "float64", "uint16"]),
    extension=st.sampled_from([".nii", ".nii.gz"]),
    seed=st.integers(0, 2**31),
)
def test_round_trip(tmp_path_factory, shape, dtype, extension, seed):
    path = tmp_path_factory.mktemp("image") / f"a{extension}"
    generator = np.random.default_rng(seed)
    data = (generator.uniform(0, 200, shape)).astype(dtype)
    affine = np.eye(4)
    affine[:3] = generator.uniform(-2, 2, (3, 4)) + np.eye(3, 4) * 6
    image = Image(data, Grid(shape, affine))
    write_image(path, image)
    read = read_image(path, dtype)
    np.testing.assert_array_equal(read.data, data)
    assert read.data.dtype == np.dtype(dtype)
    assert read.grid.matches(image.grid)
    assert read_grid(path).matches(read.grid, 0)
    theirs = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(theirs.dataobj), data)
    np.testing.assert_allclose(theirs.affine, affine, atol=1e-4)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6), (5, 6, 7, 1), (5, 6, 1, 1, 1)])
def test_files_of_others(tmp_path, extension, version, shape):
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    image = version(values, OBLIQUE)
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / f"a{extension}")
    read = read_image(tmp_path / f"a{extension}")
    three = (*shape[:3], 1)[:3]
    assert read.data.shape == three
    np.testing.assert_allclose(
        read.data, nibabel.load(tmp_path / f"a{extension}").get_fdata().reshape(three), atol=1e-4
    )
    np.testing.assert_allclose(read.grid.affine, OBLIQUE, atol=1e-5)


@pytest.mark.parametrize(
    "codes", ["".join(axes) for axes in (("R", "A", "S"), ("P", "S", "R"), ("I", "L", "A"))]
)
def test_orientation_stays_in_the_header(tmp_path, codes):
    original = nibabel.Nifti1Image(np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.diag([2.0, 3, 4, 1]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(original.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(original.as_reoriented(turn), tmp_path / "a.nii.gz")
    read = read_image(tmp_path / "a.nii.gz")
    assert "".join(nibabel.aff2axcodes(read.grid.affine)) == codes
    point = [4.0, 3.0, 8.0]
    voxel = tuple(np.rint(read.grid.to_voxel(point)).astype(int))
    assert read.data[voxel] == original.dataobj[2, 1, 2]


def test_big_endian_and_units(tmp_path):
    image = nibabel.Nifti1Image(np.ones((3, 4, 5), ">i2"), np.diag([100.0, 100, 100, 1]))
    image.header.set_xyzt_units("micron")
    swapped = nibabel.Nifti1Image(np.ones((3, 4, 5), ">i2"), None, image.header.as_byteswapped(">"))
    nibabel.save(swapped, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii")
    assert (read.data == 1).all()
    np.testing.assert_allclose(read.grid.spacing, 0.1, rtol=1e-6)


def test_same_image_same_bytes(tmp_path):
    write_image(tmp_path / "a.nii.gz", ramp())
    write_image(tmp_path / "b.nii.gz", ramp())
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    # gzip header: no name (flags) and no time
    assert content[3] == 0
    assert struct.unpack("<I", content[4:8]) == (0,)
    assert len(gzip.decompress(content)) == 352 + 4 * 990


def test_labels_masks_and_stored_types(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_image(path, ramp(dtype=np.int64))
    assert read_labels(path).data.dtype == np.int32
    assert read_labels(path).data.max() == 989
    assert read_mask(path).data.sum() == 989
    write_image(path, ramp(dtype=np.float32), dtype=np.int16, description="é" * 200)
    assert nibabel.load(path).get_data_dtype() == np.int16
    halves = Image(ramp().data + 0.123456, ramp().grid)
    write_image(path, halves, decimals=2)
    np.testing.assert_allclose(read_image(path).data, np.round(halves.data, 2), atol=1e-4)
    with pytest.raises(InputError, match="whole-number labels"):
        read_labels(path)
    write_image(path, Image(ramp().data > 5, ramp().grid))
    assert nibabel.load(path).get_data_dtype() == np.uint8


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="within uint8"):
        write_image(tmp_path / "a.nii", ramp(), dtype=np.uint8)
    with pytest.raises(InputError, match=r"\.nii"):
        write_image(tmp_path / "a.mha", ramp())
    with pytest.raises(InputError, match="NaN"):
        write_image(
            tmp_path / "a.nii", Image(np.full((2, 2, 2), np.nan), Grid((2, 2, 2), np.eye(4))), dtype="i2"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "a[1].txt"
    for other in (f".{'0' * 12}.a[1].txt", f".{'1' * 12}.b.txt", ".a[1].txt"):
        (tmp_path / other).touch()
    with atomic_path(path) as orphan:
        orphan.write_text("same")
        # the job that was started in its place
        with atomic_path(path) as temporary:
            temporary.write_text("same")
    assert path.read_text() == "same"
    assert {entry.name for entry in tmp_path.iterdir()} == {"a[1].txt", f".{'1' * 12}.b.txt", ".a[1].txt"}
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "never"):
        pass


@pytest.mark.parametrize("extension", [".mha", ".mhd", ".nrrd"])
def test_metaimage_and_nrrd(tmp_path, extension):
    sitk = pytest.importorskip("SimpleITK")
    image = ramp()
    write_image(tmp_path / "a.nii", image)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.nii")), str(tmp_path / f"a{extension}"))
    read = read_image(tmp_path / f"a{extension}")
    np.testing.assert_array_equal(read.data, image.data)
    assert read.grid.matches(image.grid)
    assert read_grid(tmp_path / f"a{extension}").matches(image.grid)
    sitk.WriteImage(sitk.Image([3, 4], sitk.sitkUInt8), str(tmp_path / f"b{extension}"))
    assert read_image(tmp_path / f"b{extension}").data.shape == (3, 4, 1)
    sitk.WriteImage(sitk.Image([3, 4, 5], sitk.sitkVectorUInt8), str(tmp_path / f"b{extension}"))
    with pytest.raises(InputError, match="scalar"):
        read_image(tmp_path / f"b{extension}")


def bad_files(folder):
    """Files that cannot be used, by a word of the reason."""
    good = folder / "good.nii.gz"
    write_image(good, ramp())
    whole = good.read_bytes()
    unpacked = gzip.decompress(whole)
    rubbish = np.random.default_rng(1).bytes(5000)
    zero_size = bytearray(unpacked)
    zero_size[42:44] = b"\0\0"
    no_axes = bytearray(unpacked)
    no_axes[252:256] = b"\0\0\2\0"
    no_axes[280:328] = b"\0" * 48
    contents = {
        "empty file": b"",
        "before the end": whole[: len(whole) // 2],
        "damaged": whole[:40] + rubbish,
        "without a NIfTI header": rubbish,
        "truncated": gzip.compress(unpacked[:2000]),
        "failed": gzip.compress(unpacked[:20]),
        "at least one voxel": bytes(zero_size),
        "zero voxel size": bytes(no_axes),
    }
    for number, (reason, content) in enumerate(contents.items()):
        path = folder / f"bad{number}.nii.gz"
        path.write_bytes(content)
        yield reason, path
    images = {
        "4D": np.ones((9, 9, 9, 2), np.float32),
        "NaN or infinity in 729 of 729": np.full((9, 9, 9), np.nan, np.float32),
        "infinity in 1 of": np.where(np.arange(729) == 3, np.inf, 1.0).reshape(9, 9, 9),
        "complex": np.ones((9, 9, 9), np.complex64),
    }
    for number, (reason, values) in enumerate(images.items()):
        path = folder / f"image{number}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
        yield reason, path
    yield "nothing there", folder / "missing.nii.gz"
    yield "found a folder", folder
    (folder / "a.png").write_bytes(rubbish)
    yield "expected a name ending", folder / "a.png"
    (folder / "a.mha").write_bytes(rubbish)
    yield "damaged", folder / "a.mha"


def test_bad_images(tmp_path):
    for reason, path in bad_files(tmp_path):
        with pytest.raises(InputError) as caught:
            read_image(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: "), message
        assert "\n" not in message
        assert reason in message or reason == "failed", (reason, message)
        assert screen_image(path) == message.removeprefix(f"{path}: ")
    read = read_image(tmp_path / "image1.nii.gz", allow_nan=True)
    assert np.isnan(read.data).all()


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 351), value=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused(tmp_path_factory, position, value):
    path = tmp_path_factory.mktemp("header") / "a.nii"
    write_image(path, ramp())
    content = bytearray(path.read_bytes())
    content[position] = value
    path.write_bytes(bytes(content))
    # nothing but an InputError may come out of any reader
    for read in (read_image, read_grid):
        with contextlib.suppress(InputError):
            read(path)
    assert isinstance(screen_image(path), str | None)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", [280, 296, 312], ids=["srow_x", "srow_y", "srow_z"])
def test_a_nan_that_signals_is_refused_like_any_other(tmp_path, place):
    path = tmp_path / "a.nii"
    write_image(path, ramp())
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\x01\x00\x80\x7f"
    path.write_bytes(bytes(content))
    for read in (read_image, read_grid):
        with pytest.raises(InputError, match="finite"):
            read(path)


def test_screen(tmp_path):
    good, flat, small = (tmp_path / f"{name}.nii.gz" for name in ("good", "flat", "small"))
    write_image(good, ramp())
    write_image(flat, Image(np.zeros((9, 10, 11), np.float32), ramp().grid))
    write_image(small, ramp((3, 4, 5)))
    assert screen_image(good) is None
    assert "value 0 in every voxel" in screen_image(flat)
    assert "at least 8 voxels" in screen_image(small)
    assert screen_member(Member("01", None, good, good, good)) is None
    assert screen_member(Member("01", None, flat)) == screen_image(flat)
    assert (
        screen_member(Member("01", None, good, mask=flat)) == "mask: expected voxels other than 0, found none"
    )
    assert "labels: expected the grid of the image" in screen_member(Member("01", None, good, labels=small))
    assert "labels: expected a file" in screen_member(Member("01", None, good, labels=tmp_path / "no.nii"))


def test_real_heads(brains):
    path = sorted(brains.glob("sub-*/anat/*_T1w.nii.gz"))[0]
    image, theirs = read_image(path), nibabel.load(path)
    np.testing.assert_array_equal(image.data, theirs.get_fdata(dtype=np.float32))
    np.testing.assert_array_equal(image.grid.affine, theirs.affine)
    assert screen_image(path) is None
