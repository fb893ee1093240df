"""The bytes of NIfTI files: one volume, or several one after another."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from isal import igzip

from regcore.errors import InputError
from regcore.io.atomic import atomic_path
from regcore.io.files import extension
from regcore.space import Grid

NIFTI_EXTENSIONS = (".nii", ".nii.gz")
GZIP_LEVEL = 1


def write_volumes(
    path: str | os.PathLike[str],
    grid: Grid,
    volumes: Iterable[npt.NDArray[Any]],
    count: int,
    *,
    dtype: npt.DTypeLike = "uint8",
    slope: float = 1.0,
) -> None:
    """Write several volumes on one grid as a 4D NIfTI, one in memory at a time, whole or not at all.

    Parameters
    ----------
    path : path
        Ends in ``.nii`` or ``.nii.gz``.
    grid : Grid
    volumes : iterable of array, shape (X, Y, Z)
        What is stored.
    count : int
        How many there are.
    dtype : dtype
        Type to store; the values must fit it.
    slope : float
        A reader multiplies by this what is stored.

    Raises
    ------
    InputError
        If the extension is another one, the values do not fit `dtype`, or there are not `count` volumes.

    Examples
    --------
    >>> import tempfile
    >>> halves = [np.full((2, 3, 4), value, np.uint8) for value in (0, 1, 2)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_volumes(Path(folder) / "a.nii.gz", Grid((2, 3, 4), np.eye(4)), halves, 3, slope=0.5)
    ...     nibabel.load(Path(folder) / "a.nii.gz").get_fdata()[0, 0, 0].tolist()
    [0.0, 0.5, 1.0]
    """
    path = Path(path)
    wanted = np.dtype(dtype)
    stored = (stored_values(path, volume, None, wanted) for volume in volumes)
    write_nifti(path, grid, (*grid.shape, count), wanted, stored, slope=slope)


def write_nifti(
    path: Path,
    grid: Grid,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    volumes: Iterable[npt.NDArray[Any]],
    slope: float = 1.0,
    description: str = "",
) -> None:
    """Write values that have their type already, as `stored_values` gives them, whole or not at all."""
    kind = extension(path)
    if kind not in NIFTI_EXTENSIONS:
        raise InputError(f"{path}: expected a name that ends in .nii or .nii.gz, found {path.suffix!r}")
    header_class = nibabel.Nifti1Header if max(shape) < 2**15 else nibabel.Nifti2Header
    header = header_class()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_slope_inter(slope, 0.0)
    header.set_xyzt_units("mm")
    header.set_sform(grid.affine, code=1)
    # A quaternion holds no shear: claim one only where it says the same as the sform
    header.set_qform(grid.affine, code=1, strip_shears=True)
    if not np.allclose(header.get_qform(), grid.affine, atol=1e-3):
        header["qform_code"] = 0
    header["descrip"] = description.encode("ascii", "replace")[:79]
    header["magic"] = b"n+1" if header_class is nibabel.Nifti1Header else b"n+2"
    start = 352 if header_class is nibabel.Nifti1Header else 544
    header["vox_offset"] = start
    block = bytes(header.binaryblock).ljust(start, b"\0")
    with atomic_path(path) as temporary, temporary.open("wb") as raw:
        if kind == ".nii":
            raw.write(block)
            _write_volumes(path, raw, volumes, shape)
            return
        # No name and no time in the gzip header, or two runs would differ
        with igzip.IGzipFile(
            filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=raw, mtime=0
        ) as stream:
            stream.write(block)
            _write_volumes(path, stream, volumes, shape)


def _write_volumes(
    path: Path, stream: Any, volumes: Iterable[npt.NDArray[Any]], shape: tuple[int, ...]
) -> None:
    written = 0
    for volume in volumes:
        stream.write(volume.tobytes(order="F"))
        written += volume.size
    if written != math.prod(shape):
        raise InputError(f"{path}: expected {math.prod(shape)} voxels to write, found {written}")


def decimals_of_range(data: npt.NDArray[Any]) -> int:
    """Decimals that keep a hundred thousandth of the range of the values; below zero for large numbers.

    Interpolated values are less certain than that, and what is rounded takes less space.

    Examples
    --------
    >>> [decimals_of_range(np.array([0, last])) for last in (1.0, 4095.0, 5e7)]
    [5, 2, -2]
    """
    finite = data[np.isfinite(data)]
    extent = float(np.ptp(finite)) if finite.size else 0.0
    return 5 - math.floor(math.log10(extent)) if extent > 0 else 5


def stored_values(
    path: Path, data: npt.NDArray[Any], decimals: int | None, dtype: npt.DTypeLike | None
) -> npt.NDArray[Any]:
    """Values in the type they are written in, little-endian."""
    wanted = np.dtype(dtype) if dtype is not None else data.dtype
    if wanted == np.bool_:
        wanted = np.dtype(np.uint8)
    elif dtype is None and wanted.kind in "iu" and wanted.itemsize == 8:
        wanted = np.dtype(np.int32)
    elif dtype is None and wanted == np.float16:
        wanted = np.dtype(np.float32)
    if wanted.kind not in "iuf":
        raise InputError(f"{path}: expected a number type to store, found {wanted}")
    if decimals is not None and data.dtype.kind == "f":
        data = np.round(data, decimals) + 0.0  # no negative zeros
    if wanted.kind in "iu" and data.dtype != np.bool_:
        if data.dtype.kind == "f":
            if not np.isfinite(data).all():
                raise InputError(
                    f"{path}: expected finite values to store as {wanted}, found NaN or infinity"
                )
            data = np.rint(data)
        limits = np.iinfo(wanted)
        if data.min() < limits.min or data.max() > limits.max:
            raise InputError(f"{path}: expected values within {wanted}, found {data.min()} to {data.max()}")
    return data.astype(wanted.newbyteorder("<"), copy=False)
