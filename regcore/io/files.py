"""What every reader of files asks first: is there a file, and of which kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip, igzip_lib

from regcore.errors import InputError, reason
from regcore.io.limits import TIGHTEST_PACKING

GZIP_MAGIC = b"\x1f\x8b"
# the stubs of isal declare the class as an instance
GZIP_ERROR: Any = igzip_lib.IsalError
CHUNK_BYTES = 2**20
# what may stand before the voxels (header extensions) and behind them (padding)
MOST_EXTENSION_BYTES = 64 * 2**20
MOST_TRAILING_BYTES = 2**20


def extension(path: str | os.PathLike[str]) -> str:
    """Lower-case extension of a file, with both parts of ``.nii.gz``.

    Examples
    --------
    >>> extension("sub-01_T1w.nii.gz")
    '.nii.gz'
    """
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def is_file(path: Path) -> bool:
    """Whether there is an ordinary file; a name that no file can have is no error here.

    Examples
    --------
    >>> is_file(Path("a" * 100_000))
    False
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; a name that no folder can have is no error here."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return `path`, or say in one line why there is nothing to read there.

    Raises
    ------
    InputError
        If the file is missing, a folder, or empty.
    """
    path = Path(path)
    if is_folder(path):
        raise InputError(f"{path}: expected a file, found a folder")
    if not is_file(path):
        raise InputError(f"{path}: expected a file, found nothing there")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected data, found an empty file (0 bytes)")
    return path


@contextmanager
def open_unpacked(path: Path) -> Iterator[tuple[Any, int]]:
    """Open a file to read, unpacked if it is gzip-compressed, with the bytes it can hold at most."""
    size = path.stat().st_size
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not packed:
            yield raw, size
            return
        with igzip.IGzipFile(fileobj=raw) as stream:
            yield stream, size * TIGHTEST_PACKING


def read_exactly(path: Path, stream: Any, skip: int, count: int) -> npt.NDArray[np.uint8]:
    """Next `count` bytes of a stream after `skip` others, in one allocation, and then its end.

    Raises
    ------
    InputError
        If the stream ends earlier, `skip` is no offset, or a packed stream goes on for more than a megabyte.
    """
    if not 0 <= skip <= MOST_EXTENSION_BYTES:
        raise InputError(f"{path}: expected the voxels soon after the header, found offset {skip}")
    while skip > 0 and (passed := len(stream.read(min(skip, CHUNK_BYTES)))):
        skip -= passed
    content = np.empty(count, np.uint8)
    view, filled = content.data, 0
    while filled < count and (got := stream.readinto(view[filled : filled + CHUNK_BYTES])):
        filled += got
    if filled < count:
        raise InputError(f"{path}: expected {count} bytes of voxels, found {filled} (truncated)")
    if isinstance(stream, igzip.IGzipFile):
        # only a reader that comes to the end learns whether the checksum is right
        rest = 0
        while more := len(stream.read(CHUNK_BYTES)):
            rest += more
            if rest > MOST_TRAILING_BYTES:
                raise InputError(f"{path}: expected {count} bytes of voxels, found many more behind them")
    return content


def unreadable(path: Path, error: BaseException) -> InputError:
    """Error for a file that a parser stumbled over, in one line."""
    return InputError(f"{path}: expected a readable image, found a damaged or foreign file ({reason(error)})")


def disk_space(folder: Path) -> int:
    """Bytes on disk of all files below a folder; one with several names counts once.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = (Path(name) / "a").write_bytes(bytes(5000))
    ...     (Path(name) / "b").hardlink_to(Path(name) / "a")
    ...     5000 <= disk_space(Path(name)) < 20_000
    True
    """
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - many files
            except FileNotFoundError:
                continue
            found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())
