"""ITK transform files mean the same to ITK, ANTs, nitransforms and regcore."""

from __future__ import annotations

import hashlib
import itertools

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.itk import read_transform, write_transform
from regcore.io.nifti import write_image
from regcore.resample import resample
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, Velocity

GENERATOR = np.random.default_rng(7)
ROTATION = Affine.from_parameters(rotation=(0.2, -0.1, 0.15)).matrix
# oblique, anisotropic and flipped, as scanners write them
FIXED_GRID = Grid((22, 26, 19), ROTATION @ np.diag([-1.5, 1.2, 2.0, 1.0]) + 0.0)
MOVING_GRID = Grid(
    (25, 24, 21), np.array([[0, 0, 1.8, -33.0], [-1.4, 0, 0, 33], [0, 1.3, 0, 0], [0, 0, 0, 1]])
)


def smooth_field(grid, amplitude, seed=0):
    noise = np.random.default_rng(seed).standard_normal((*grid.shape, 3))
    field = np.stack([gaussian_filter(noise[..., axis], 4) for axis in range(3)], axis=-1)
    return (amplitude * field / np.abs(field).max()).astype(np.float32)


@pytest.fixture(scope="module")
def chain():
    affine = Affine.from_parameters(
        (3, -2, 1), (0.1, 0.2, -0.1), (1.1, 0.9, 1.05), (0.03, 0, 0.02), (5, 5, 5)
    )
    return Chain((affine, Displacement(smooth_field(FIXED_GRID, 2.0), FIXED_GRID)))


@pytest.fixture(scope="module")
def labels():
    values = gaussian_filter(GENERATOR.standard_normal(MOVING_GRID.shape), 2)
    return Image(
        np.digitize(values, np.quantile(values, np.linspace(0, 1, 9)[1:-1])).astype(np.int32), MOVING_GRID
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory, chain, labels):
    folder = tmp_path_factory.mktemp("itk")
    write_transform(folder / "chain.h5", chain)
    write_transform(folder / "affine.h5", chain.transforms[0])
    write_transform(folder / "affine.txt", chain.transforms[0])
    write_image(folder / "labels.nii.gz", labels)
    write_image(folder / "fixed.nii.gz", Image(np.zeros(FIXED_GRID.shape, np.float32), FIXED_GRID))
    return folder


def points():
    """World points all over the grid and around it, away from the edge where the field ends."""
    inside = GENERATOR.uniform(0, np.array(FIXED_GRID.shape) - 1, (300, 3))
    outside = GENERATOR.uniform(-8, -2, (30, 3))
    return FIXED_GRID.to_world(np.vstack([inside, outside]))


def lps(values):
    return np.asarray(values) * [-1, -1, 1]


@pytest.mark.parametrize("name", ["chain.h5", "affine.h5", "affine.txt"])
def test_simpleitk_maps_points_as_we_do(files, chain, name):
    sitk = pytest.importorskip("SimpleITK")
    ours = chain if name == "chain.h5" else chain.transforms[0]
    theirs = sitk.ReadTransform(str(files / name))
    given_points = points()
    mapped = lps([theirs.TransformPoint(point.tolist()) for point in lps(given_points)])
    np.testing.assert_allclose(mapped, ours(given_points), atol=0.01)
    np.testing.assert_allclose(read_transform(files / name)(given_points), ours(given_points), atol=1e-4)


@pytest.mark.parametrize("name", ["chain.h5", "affine.txt"])
def test_simpleitk_carries_labels_as_we_do(files, chain, labels, name):
    sitk = pytest.importorskip("SimpleITK")
    ours = resample(labels, FIXED_GRID, chain if name == "chain.h5" else chain.transforms[0], "nearest")
    warped = sitk.Resample(
        sitk.ReadImage(str(files / "labels.nii.gz")),
        sitk.ReadImage(str(files / "fixed.nii.gz")),
        sitk.ReadTransform(str(files / name)),
        sitk.sitkNearestNeighbor,
        0.0,
    )
    assert np.unique(ours.data).size == 8
    assert (ours.data == sitk.GetArrayFromImage(warped).T).mean() > 0.999


@pytest.mark.parametrize("name", ["chain.h5", "affine.txt"])
def test_nitransforms_maps_as_we_do(files, chain, labels, name):
    nitransforms = pytest.importorskip("nitransforms")
    from nitransforms.resampling import apply

    if name == "chain.h5":
        ours, theirs = chain, nitransforms.manip.load(files / name, fmt="itk")
        theirs.reference = files / "fixed.nii.gz"
    else:
        ours = chain.transforms[0]
        theirs = nitransforms.linear.load(files / name, fmt="itk")
        given_points = points()
        np.testing.assert_allclose(theirs.map(given_points), ours(given_points), atol=0.01)
    warped = apply(
        theirs, files / "labels.nii.gz", reference=files / "fixed.nii.gz", order=0, prefilter=False
    )
    ours_warped = resample(labels, FIXED_GRID, ours, "nearest").data
    # nitransforms fills the outer half of the border voxels with zeros, ITK and regcore read them
    read_at = MOVING_GRID.to_voxel(ours(FIXED_GRID.world_points()))
    inside = ((read_at >= 0) & (read_at <= np.array(MOVING_GRID.shape) - 1)).all(axis=-1)
    assert inside.mean() > 0.3
    assert (np.asarray(warped.dataobj) == ours_warped)[inside].mean() > 0.999


@pytest.mark.parametrize("name", ["chain.h5", "affine.h5", "affine.txt"])
def test_ants_maps_as_we_do(files, chain, labels, name):
    ants = pytest.importorskip("ants")
    ours = chain if name == "chain.h5" else chain.transforms[0]
    warped = ants.apply_transforms(
        fixed=ants.image_read(str(files / "fixed.nii.gz")),
        moving=ants.image_read(str(files / "labels.nii.gz")),
        transformlist=[str(files / name)],
        interpolator="nearestNeighbor",
    )
    assert (warped.numpy() == resample(labels, FIXED_GRID, ours, "nearest").data).mean() > 0.999
    if name != "affine.txt":
        transform = ants.read_transform(str(files / name))
        given_points = points()
        mapped = lps([transform.apply_to_point(point.tolist()) for point in lps(given_points)])
        np.testing.assert_allclose(mapped, ours(given_points), atol=0.01)


def test_we_read_what_simpleitk_writes(tmp_path, chain):
    sitk = pytest.importorskip("SimpleITK")
    field = chain.transforms[1]
    vectors = np.ascontiguousarray(field.to_world().transpose(2, 1, 0, 3).astype(float)) * [-1, -1, 1]
    image = sitk.GetImageFromArray(vectors, isVector=True)
    to_lps = np.diag([-1, -1, 1]) @ FIXED_GRID.affine[:3]
    image.SetOrigin(to_lps[:, 3].tolist())
    image.SetSpacing(FIXED_GRID.spacing.tolist())
    image.SetDirection((to_lps[:, :3] / FIXED_GRID.spacing).ravel().tolist())
    euler = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6))
    composite = sitk.CompositeTransform([euler, sitk.DisplacementFieldTransform(image)])
    sitk.WriteTransform(composite, str(tmp_path / "a.h5"))
    given_points = points()
    mapped = lps([composite.TransformPoint(point.tolist()) for point in lps(given_points)])
    np.testing.assert_allclose(read_transform(tmp_path / "a.h5")(given_points), mapped, atol=1e-3)


def linear_types():
    sitk = pytest.importorskip("SimpleITK")
    centre, shift, versor = (1, 2, 3), (4, 5, 6), (0.1, 0.2, 0.3, 0.927361849549570)
    other_order = sitk.Euler3DTransform(centre, 0.1, 0.2, 0.3, shift)
    other_order.SetComputeZYX(True)
    affine = sitk.AffineTransform((1.1, 0.1, 0, 0, 0.9, 0, 0.2, 0, 1), shift, centre)
    return [
        affine,
        other_order,
        sitk.Euler3DTransform(centre, 0.1, 0.2, 0.3, shift),
        sitk.VersorRigid3DTransform(versor, shift, centre),
        sitk.Similarity3DTransform(1.2, versor, shift, centre),
        sitk.TranslationTransform(3, shift),
        sitk.Transform(3, sitk.sitkIdentity),
    ]


@pytest.mark.parametrize("extension", ["txt", "tfm", "h5"])
def test_every_linear_type_of_itk(tmp_path, extension):
    sitk = pytest.importorskip("SimpleITK")
    for transform, point in itertools.product(linear_types(), ([10.0, -20.0, 30.0], [0.0, 0.0, 0.0])):
        sitk.WriteTransform(transform, str(tmp_path / f"a.{extension}"))
        mapped = lps(transform.TransformPoint(lps(point).tolist()))
        np.testing.assert_allclose(read_transform(tmp_path / f"a.{extension}")(point), mapped, atol=1e-6)


def test_ants_matlab_affine(tmp_path):
    from scipy.io import savemat

    parameters = np.array([1.1, 0.1, 0, 0, 0.9, 0, 0.2, 0, 1, 4, 5, 6])[:, None]
    content = {"AffineTransform_double_3_3": parameters, "fixed": np.array([[1.0], [2], [3]])}
    savemat(tmp_path / "a0GenericAffine.mat", content, format="4")
    point = np.array([10.0, -20.0, 30.0])
    matrix, centre = parameters[:9].reshape(3, 3), np.array([1.0, 2, 3])
    expected = lps(matrix @ (lps(point) - centre) + centre + [4, 5, 6])
    np.testing.assert_allclose(read_transform(tmp_path / "a0GenericAffine.mat")(point), expected)


def test_ants_displacement_image(tmp_path, chain):
    nibabel = pytest.importorskip("nibabel")
    field = chain.transforms[1]
    vectors = (field.to_world() * [-1, -1, 1])[:, :, :, None].astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(vectors, FIXED_GRID.affine), tmp_path / "1Warp.nii.gz")
    read = read_transform(tmp_path / "1Warp.nii.gz")
    given_points = points()
    np.testing.assert_allclose(read(given_points), field(given_points), atol=1e-4)
    np.testing.assert_allclose(read.field, field.field, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), compression=st.booleans())
def test_round_trip_of_any_chain(tmp_path_factory, seed, compression):
    generator = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("chain")
    shape = tuple(int(n) for n in generator.integers(1, 7, 3))
    affine = np.eye(4)
    affine[:3, :3] += generator.uniform(-0.3, 0.3, (3, 3))
    affine[:3, 3] = generator.uniform(-100, 100, 3)
    grid = Grid(shape, affine)
    kinds = {
        0: lambda: Affine(affine),
        1: lambda: Displacement(generator.uniform(-1, 1, (*shape, 3)).astype(np.float32), grid),
        2: lambda: Velocity(generator.uniform(-0.1, 0.1, (*shape, 3)).astype(np.float32), grid),
    }
    chain = Chain([kinds[int(kind)]() for kind in generator.integers(0, 3, generator.integers(1, 5))])
    write_transform(folder / "a.h5", chain, compression=compression)
    voxels = generator.uniform(0, np.array(shape) - 1, (10, 3))
    given_points = grid.to_world(voxels)
    mapped = read_transform(folder / "a.h5")(given_points)
    # a field ends at the edge of its grid: a point that lands there may fall on either side
    close = np.abs(mapped - chain(given_points)).max(axis=1) < 1e-3
    assert close.mean() >= 0.8


def test_bytes_and_grid(tmp_path, chain):
    write_transform(tmp_path / "a.h5", chain, compression=True)
    write_transform(tmp_path / "b.h5", chain, compression=True)
    first, second = (hashlib.sha256((tmp_path / f"{n}.h5").read_bytes()).hexdigest() for n in "ab")
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]
    more = Chain((chain, Displacement(smooth_field(FIXED_GRID, 1.0, 3), FIXED_GRID)))
    write_transform(tmp_path / "c.h5", more, FIXED_GRID)
    read = read_transform(tmp_path / "c.h5")
    assert [type(step) for step in read.transforms] == [Affine, Displacement]
    middle = FIXED_GRID.to_world(np.array([[8, 9, 7], [12, 13, 9]]))
    np.testing.assert_allclose(read(middle), more(middle), atol=1e-3)


def test_slices_stay_in_their_plane(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    grid = Grid((12, 14, 1), np.diag([1.0, 1.5, 2.0, 1.0]))
    field = np.zeros((*grid.shape, 3), np.float32)
    field[..., :2] = GENERATOR.uniform(-1, 1, (*grid.shape, 2))
    ours = Displacement(field, grid)
    write_transform(tmp_path / "a.h5", ours)
    theirs = sitk.ReadTransform(str(tmp_path / "a.h5"))
    given_points = grid.to_world(GENERATOR.uniform(0, 1, (50, 3)) * [11, 13, 0])
    mapped = lps([theirs.TransformPoint(point.tolist()) for point in lps(given_points)])
    np.testing.assert_allclose(mapped, ours(given_points), atol=1e-3)


TEXT = "#Insight Transform File V1.0\n#Transform 0\nTransform: {}\nParameters: {}\nFixedParameters: {}\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "empty file"),
        ("a.txt", "1 0 0 0\n0 1 0 0\n", "first line"),
        ("a.txt", "#Insight Transform File V1.0\n", "found none"),
        ("a.txt", TEXT.format("AffineTransform_double_3_3", "1 2 3", "0 0 0"), "12 parameters"),
        ("a.txt", TEXT.format("AffineTransform_double_3_3", "1 x 3", "0 0 0"), "expected numbers"),
        ("a.txt", TEXT.format("AffineTransform_double_3_3", "0 " * 12, "0 0 0"), "invertible"),
        ("a.txt", TEXT.format("AffineTransform_double_3_3", "nan " * 12, "0 0 0"), "finite"),
        ("a.txt", TEXT.format("AffineTransform_double_2_2", "1 0 0 1 0 0", "0 0"), "3D"),
        ("a.txt", TEXT.format("BSplineTransform_double_3_3", "1", "0"), "BSplineTransform"),
        ("a.h5", "not HDF5", "HDF5"),
        ("a.mat", "not MATLAB", "MATLAB"),
        ("a.nii.gz", "not NIfTI", "NIfTI"),
        ("a.xfm", "MNI", "expected a name ending"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_transform(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_bad_fields(tmp_path, chain):
    path = tmp_path / "a.h5"
    write_transform(path, chain.transforms[1])
    with h5py.File(path, "r+") as file:
        file["TransformGroup/1/TransformFixedParameters"][0] = 99
    with pytest.raises(InputError, match="expected a field of"):
        read_transform(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="HDF5"):
        read_transform(path)
    with pytest.raises(InputError, match="nothing there"):
        read_transform(tmp_path / "missing.h5")


def test_what_cannot_be_written(tmp_path, chain):
    class Wave:
        def __call__(self, given_points):
            return np.asarray(given_points) + np.sin(np.asarray(given_points))

        def inverse(self):
            return self

    with pytest.raises(InputError, match="expected an affine"):
        write_transform(tmp_path / "a.txt", chain)
    with pytest.raises(InputError, match="expected a name"):
        write_transform(tmp_path / "a.mat", chain)
    with pytest.raises(InputError, match="Wave"):
        write_transform(tmp_path / "a.h5", Wave())
    assert list(tmp_path.iterdir()) == []
    write_transform(tmp_path / "a.h5", Wave(), FIXED_GRID)
    assert (tmp_path / "a.h5").exists()
