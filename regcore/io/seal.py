"""A seal at the end of files that we write: a checksum, and where the numbers lie.

HDF5 ignores what follows its own end, so that other programs read a sealed file like any other. We read it
by its seal, without libhdf5: a damaged file is recognised before anything interprets it, and one that was
made to harm meets no parser written in C.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import DamagedFileError, InputError
from regcore.io.files import read_exactly
from regcore.io.limits import check_announced

MAGIC = b" regcore seal 1\n"
LENGTH_DIGITS = 10
DIGEST_DIGITS = 64
LONGEST_INDEX = 2**20


def append_seal(path: Path, index: Any) -> None:
    """Append an index (JSON) and the SHA-256 of everything before it to a finished file.

    Parameters
    ----------
    path : Path
    index : plain values
        Whatever a reader needs to find its numbers.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.bin"
    ...     _ = path.write_bytes(b"numbers")
    ...     append_seal(path, {"first": 3})
    ...     content, index = read_sealed(path)
    >>> content[:7].tobytes(), index
    (b'numbers', {'first': 3})
    """
    text = json.dumps(index).encode("ascii")
    with path.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha256")
        digest.update(text)
        file.seek(0, os.SEEK_END)
        file.write(text + digest.hexdigest().encode("ascii") + b"%0*d" % (LENGTH_DIGITS, len(text)) + MAGIC)


def is_sealed(path: Path) -> bool:
    """Whether a file ends as `append_seal` leaves it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(MAGIC), 0))
        return file.read() == MAGIC


def read_sealed(path: Path) -> tuple[npt.NDArray[np.uint8], Any]:
    """Bytes and index of a sealed file, its checksum verified.

    Raises
    ------
    DamagedFileError
        If the file is not as it was sealed.
    InputError
        If it is larger than images may be.
    """
    size = path.stat().st_size
    check_announced(path, size, size)
    tail = LENGTH_DIGITS + len(MAGIC)
    with path.open("rb") as file:
        content = read_exactly(path, file, 0, size)
    end = content[max(size - tail, 0) :].tobytes()
    digits = end[:LENGTH_DIGITS]
    start = size - tail - DIGEST_DIGITS - (int(digits) if digits.isdigit() else size)
    if size < tail or not end.endswith(MAGIC) or start < 0 or size - start > LONGEST_INDEX:
        raise DamagedFileError(path)
    sealed = content[: size - tail - DIGEST_DIGITS]
    digest = hashlib.sha256(sealed.data).hexdigest()
    if digest.encode("ascii") != content[sealed.size : size - tail].tobytes():
        raise DamagedFileError(path)
    try:
        return content[:start], json.loads(sealed[start:].tobytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected an index of numbers in its seal, found another text") from error


def numbers(
    path: Path, content: npt.NDArray[np.uint8], dtype: Any, offset: Any, count: Any
) -> npt.NDArray[Any]:
    """A run of little-endian floating numbers in the bytes of a file.

    Raises
    ------
    InputError
        If the seal points beyond the file, or to anything but float32 and float64.

    Examples
    --------
    >>> numbers(Path("a.h5"), np.arange(2.0).view(np.uint8), "<f8", 8, 1)
    array([1.])
    """
    known = dtype in ("<f4", "<f8") and isinstance(offset, int) and isinstance(count, int)
    if not known or min(offset, count) < 0 or offset + count * int(dtype[2]) > content.size:
        raise InputError(f"{path}: expected an index of numbers in its seal, found one of other bytes")
    return np.frombuffer(content, dtype, count, offset)
