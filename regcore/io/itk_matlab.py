"""The affine that ANTs writes: a MATLAB file of level 4, two matrices with names."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.io.foreign import LARGEST_LINEAR, Record

HEADER_BYTES = 20
LARGEST_BYTES = 4096
# the tens of MATLAB's code for the type: numbers of eight and of four bytes
PRECISIONS = {0: "f8", 1: "f4"}


def matlab_record(path: Path) -> Record:
    """Type, parameters and fixed parameters of the transform in a ``.mat`` file.

    A few lines of our own and not ``scipy.io.loadmat``, which reads every kind of MATLAB file, packed ones
    and objects too: this kind is all that ITK writes.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If the file is of another kind, damaged, or holds anything but one linear transform.
    """
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise InputError(f"{path}: expected a MATLAB 4 file as ANTs writes, found {size} bytes for an affine")
    content, start = path.read_bytes(), 0
    matrices: dict[str, npt.NDArray[np.float64]] = {}
    while start < size:
        try:
            name, values, start = _matrix(content, start)
        except (ValueError, KeyError, struct.error) as error:
            raise InputError(
                f"{path}: expected a MATLAB 4 file as ANTs writes, found another one ({error})"
            ) from error
        matrices[name] = values
    kinds = [name for name in matrices if "Transform" in name]
    if len(kinds) != 1 or "fixed" not in matrices:
        raise InputError(f"{path}: expected one ITK transform, found {len(kinds)}")
    return kinds[0], matrices[kinds[0]], matrices["fixed"]


def _matrix(content: bytes, start: int) -> tuple[str, npt.NDArray[np.float64], int]:
    """Name and values of the matrix at an offset, and where the next one starts."""
    order = "<" if struct.unpack_from("<i", content, start)[0] in range(1000) else ">"
    code, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", content, start)
    dtype = np.dtype(order + PRECISIONS[code // 10 % 10])
    count = rows * columns
    if code % 10 or imaginary or min(rows, columns) != 1 or not 0 < count <= LARGEST_LINEAR or length < 2:
        raise ValueError("no vector of numbers")
    values = start + HEADER_BYTES + length
    name = content[start + HEADER_BYTES : values - 1].decode("ascii")
    return (
        name,
        np.frombuffer(content, dtype, count, values).astype(np.float64),
        values + count * dtype.itemsize,
    )
