"""What every reader of files asks first: is there a file, and of which kind."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from isal import igzip

from regcore.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"


def extension(path: str | os.PathLike[str]) -> str:
    """Lower-case extension of a file, with both parts of ``.nii.gz``.

    Examples
    --------
    >>> extension("sub-01_T1w.nii.gz")
    '.nii.gz'
    """
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return `path`, or say in one line why there is nothing to read there.

    Raises
    ------
    InputError
        If the file is missing, a folder, or empty.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: expected a file, found a folder")
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found nothing there")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected data, found an empty file (0 bytes)")
    return path


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, to know it again.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a").write_bytes(b"")
    ...     file_digest(Path(folder) / "a")[:8]
    'e3b0c442'
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path) -> bytes:
    """All bytes of a file, unpacked if it is gzip-compressed."""
    content = path.read_bytes()
    return bytes(igzip.decompress(content)) if content[:2] == GZIP_MAGIC else content


def unreadable(path: Path, error: BaseException) -> InputError:
    """Error for a file that a parser stumbled over, in one line."""
    lines = str(error).strip().splitlines()
    reason = lines[-1].strip() if lines else type(error).__name__
    return InputError(f"{path}: expected a readable image, found a damaged or foreign file ({reason})")
