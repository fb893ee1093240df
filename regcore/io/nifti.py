"""Images on disk: NIfTI-1 and NIfTI-2, and MetaImage and NRRD through SimpleITK."""

from __future__ import annotations

import logging
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from regcore.errors import InputError
from regcore.image import Image
from regcore.io.files import GZIP_ERROR, existing_file, extension, open_unpacked, read_exactly, unreadable
from regcore.io.itk_images import ITK_EXTENSIONS, read_itk, read_itk_header
from regcore.io.limits import check_announced
from regcore.io.nifti_writer import NIFTI_EXTENSIONS, decimals_of_range, stored_values, write_nifti
from regcore.space import Grid

READ_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    GZIP_ERROR,
    struct.error,
    ImageFileError,
    HeaderDataError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
# NIfTI's codes for the unit of length, in millimetres; 0 (unknown) is taken for mm, as every reader does
MILLIMETRES_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
HEADER_BYTES = 540
LARGEST_FORM_CODE = 5
QUIET = logging.Logger("nifti", logging.CRITICAL)


def read_image(
    path: str | os.PathLike[str], dtype: npt.DTypeLike = "float32", *, allow_nan: bool = False
) -> Image:
    """Read an image in the orientation of its file.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, or with SimpleITK installed ``.mha``, ``.mhd``, ``.nrrd``, ``.nhdr``. A 2D
        image becomes (X, Y, 1); axes beyond the third must have one element.
    dtype : dtype
        Type of the values returned, after the file's slope and intercept. Integers require whole numbers.
    allow_nan : bool
        Let NaN and infinity through.

    Returns
    -------
    Image
        Values of shape (X, Y, Z), on a grid in world RAS+ millimetres.

    Raises
    ------
    InputError
        If the file is missing, damaged, not scalar, has several volumes, or holds values that are not finite.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.nii.gz"
    ...     write_image(path, Image(np.ones((2, 3, 4), np.float32), Grid((2, 3, 4), np.diag([2.0, 2, 2, 1]))))
    ...     read_image(path).grid.spacing
    array([2., 2., 2.])
    """
    path = existing_file(path)
    values, affine = read_itk(path) if extension(path) in ITK_EXTENSIONS else read_values(path)
    data = _three_axes(path, values)
    wanted = np.dtype(dtype)
    if np.issubdtype(data.dtype, np.floating) and (not allow_nan or np.issubdtype(wanted, np.integer)):
        broken = int(data.size - np.count_nonzero(np.isfinite(data)))
        if broken:
            raise InputError(
                f"{path}: expected finite values, found NaN or infinity in {broken} of {data.size} voxels"
            )
    if np.issubdtype(wanted, np.integer):
        data = _whole_numbers(path, data, wanted)
    elif data.dtype.itemsize > wanted.itemsize and not allow_nan:
        largest = max(abs(float(data.min())), abs(float(data.max())))
        if largest > float(np.finfo(str(wanted)).max):
            raise InputError(f"{path}: expected values within {wanted}, found {largest:g}")
    return Image(np.ascontiguousarray(data, dtype=wanted), _grid(path, data.shape, affine))


def read_labels(path: str | os.PathLike[str]) -> Image:
    """Read a label image as int32; labels are whole numbers, whatever type the file stores.

    Raises
    ------
    InputError
        As `read_image`, and for a value that is not whole or does not fit int32.
    """
    return read_image(path, "int32")


def read_mask(path: str | os.PathLike[str]) -> Image:
    """Read a mask as uint8: 1 where the file is not 0.

    Raises
    ------
    InputError
        As `read_image`.
    """
    image = read_image(path)
    return Image((image.data != 0).astype(np.uint8), image.grid)


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """Read the grid of an image from its header alone.

    Raises
    ------
    InputError
        If the header cannot be read, or the image is not one 2D or 3D volume.
    """
    path = existing_file(path)
    kind = extension(path)
    try:
        if kind in ITK_EXTENSIONS:
            shape, affine = read_itk_header(path)
        else:
            with open_unpacked(path) as (stream, most):
                header = _header(path, stream.read(HEADER_BYTES))
            shape, _ = _announced(path, header, most)
            affine = _nifti_affine(header)
    except InputError:
        raise
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
    return _grid(path, _three_axis_shape(path, shape), affine)


def write_image(
    path: str | os.PathLike[str],
    image: Image,
    *,
    decimals: int | None = None,
    dtype: npt.DTypeLike | None = None,
    description: str = "",
) -> None:
    """Write an image as NIfTI, whole or not at all; the same image gives the same bytes.

    Parameters
    ----------
    path : path
        Ends in ``.nii`` or ``.nii.gz``.
    image : Image
        Boolean values are stored as uint8 and 64-bit integers as int32.
    decimals : int, optional
        Round to this many decimals first, which makes the compressed file smaller.
    dtype : dtype, optional
        Type to store, by default the type of the data. Floating values are rounded for an integer type.
    description : str
        NIfTI's ``descrip``, at most 79 characters.

    Raises
    ------
    InputError
        If the extension is another one, or the values do not fit `dtype`.

    Examples
    --------
    >>> import tempfile
    >>> grid = Grid((2, 3, 4), np.eye(4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Path(folder) / "a.nii.gz", Image(np.ones((2, 3, 4), np.uint8), grid))
    ...     int(read_labels(Path(folder) / "a.nii.gz").data.sum())
    24
    """
    path = Path(path)
    data = stored_values(path, image.data, decimals, dtype)
    write_nifti(path, image.grid, data.shape, data.dtype, [data], description=description)


def write_interpolated(path: str | os.PathLike[str], image: Image) -> None:
    """Write an image that was interpolated, rounded to 1e-5 of its range; whole numbers stay as they are."""
    whole = image.data.dtype.kind != "f"
    write_image(path, image, decimals=None if whole else decimals_of_range(image.data))


def _header(path: Path, block: bytes) -> Any:
    """NIfTI-1 or NIfTI-2 header of the first bytes of a file."""
    for header_class in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if header_class.may_contain_header(block):
            header = header_class(block[: header_class.sizeof_hdr], check=False)
            _check_voxel_size(path, header)
            for name in ("qform_code", "sform_code"):
                if not 0 <= int(header[name]) <= LARGEST_FORM_CODE:
                    raise InputError(
                        f"{path}: expected {name} from 0 to {LARGEST_FORM_CODE}, found {int(header[name])}"
                    )
            # what it mends beyond that is bookkeeping, and no news for a terminal
            header.check_fix(logger=QUIET)
            return header
    raise InputError(f"{path}: expected a NIfTI image, found a file without a NIfTI header")


def _check_voxel_size(path: Path, header: Any) -> None:
    """Refuse voxel sizes that nibabel would mend without telling anyone."""
    count = min(max(int(header["dim"][0]), 0), 3)
    shape, sizes = header["dim"][1 : count + 1], header["pixdim"][1 : count + 1]
    # an axis of one voxel has no size that matters
    if not (sizes[shape > 1] > 0).all():
        found = " x ".join(f"{float(size):g}" for size in sizes)
        raise InputError(f"{path}: expected voxel sizes above zero, found {found}")


def _nifti_affine(header: Any) -> npt.NDArray[np.float64]:
    unit = MILLIMETRES_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    # a NaN may be one that signals; it is refused with all others, and needs no warning of NumPy's before
    with np.errstate(invalid="ignore"):
        affine = np.array(header.get_best_affine(), dtype=np.float64)
        affine[:3] *= unit
    return affine


def read_values(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Values of a NIfTI file after slope and intercept, of any shape, and the affine in RAS+ mm.

    Raises
    ------
    InputError
        If the file is damaged or does not hold one number a voxel.
    """
    if extension(path) not in NIFTI_EXTENSIONS:
        raise InputError(
            f"{path}: expected a name ending in {', '.join(NIFTI_EXTENSIONS + ITK_EXTENSIONS)}, "
            f"found {extension(path)!r}"
        )
    try:
        with open_unpacked(path) as (stream, most):
            block = stream.read(HEADER_BYTES)
            header = _header(path, block)
            shape, stored = _announced(path, header, most)
            start = int(header["vox_offset"]) or int(header.single_vox_offset)
            # the header was read beyond its end: NIfTI-1 data may start before the 540 bytes of NIfTI-2
            stream.seek(min(start, len(block)))
            count = math.prod(shape) * stored.itemsize
            content = read_exactly(path, stream, start - min(start, len(block)), count)
        values = content.view(stored).reshape(shape, order="F")
        slope, intercept = header.get_slope_inter()
    except InputError:
        raise
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
    if slope is not None and (slope != 1.0 or intercept != 0.0):
        # float64 keeps whole numbers of any integer type whole; what overflows is found as infinity
        with np.errstate(over="ignore", invalid="ignore"):
            values = values * np.float64(slope)
            values += np.float64(intercept or 0.0)
    return values, _nifti_affine(header)


def _announced(path: Path, header: Any, most: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the voxels, refused if they cannot be in the file or are no numbers."""
    stored = header.get_data_dtype()
    if stored.kind not in "iuf":
        raise InputError(f"{path}: expected one number a voxel, found data of type {stored}")
    shape = tuple(int(n) for n in header.get_data_shape())
    if not shape or min(shape) < 1:
        raise InputError(f"{path}: expected axes of at least one voxel, found shape {shape}")
    check_announced(path, math.prod(shape) * stored.itemsize, most)
    return shape, stored


def _three_axis_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) < 2 or any(n != 1 for n in shape[3:]):
        raise InputError(
            f"{path}: expected one 2D or 3D volume, found {len(shape)}D data of shape {tuple(shape)}"
        )
    first, second, third = (*shape[:3], 1)[:3]
    return int(first), int(second), int(third)


def _three_axes(path: Path, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.reshape(_three_axis_shape(path, values.shape), order="F")


def _grid(path: Path, shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> Grid:
    try:
        return Grid((shape[0], shape[1], shape[2]), affine)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _whole_numbers(path: Path, data: npt.NDArray[Any], wanted: np.dtype[Any]) -> npt.NDArray[Any]:
    """Check that a cast to an integer type changes no value."""
    if np.issubdtype(data.dtype, np.floating):
        rounded = np.rint(data)
        # a slope in the file leaves rounding errors of its own
        worst = float(np.abs(data - rounded).max())
        if worst > 1e-3:
            raise InputError(f"{path}: expected whole-number labels, found values {worst:g} away from one")
        data = rounded
    limits = np.iinfo(wanted)
    lowest, highest = data.min(), data.max()
    if lowest < limits.min or highest > limits.max:
        raise InputError(f"{path}: expected values within {wanted}, found {lowest} to {highest}")
    return data
