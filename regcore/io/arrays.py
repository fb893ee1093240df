"""Numpy arrays in one file, and folders that share their files."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip

from regcore.errors import DamagedFileError
from regcore.io.atomic import atomic_path
from regcore.io.files import GZIP_ERROR

READ_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    SyntaxError,
    MemoryError,
    RuntimeError,
    zlib.error,
    GZIP_ERROR,
    zipfile.BadZipFile,
)


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays to a ``.npz`` file, whole or not at all; the same arrays give the same bytes.

    One whose name ends in ``.npz.gz`` is compressed, fast rather than well.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(Path(folder) / "a.npz", {"one": np.ones(2)})
    ...     read_arrays(Path(folder) / "a.npz")["one"].tolist()
    [1.0, 1.0]
    """
    values = {name: np.asarray(array) for name, array in arrays.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if temporary.suffix == ".gz":
            plain = io.BytesIO()
            np.savez(plain, allow_pickle=False, **values)
            file.write(igzip.compress(plain.getbuffer(), 1, mtime=0))
        else:
            np.savez(file, allow_pickle=False, **values)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays that `write_arrays` wrote.

    Raises
    ------
    DamagedFileError
        If the file is missing, damaged, or holds Python objects; every array has a checksum.
    """
    try:
        file = io.BytesIO(igzip.decompress(Path(path).read_bytes())) if Path(path).suffix == ".gz" else path
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except READ_ERRORS as error:
        raise DamagedFileError(path) from error


def link_files(source: Path, target: Path) -> None:
    """Give a folder the files of another one, by hard links where the file system has them."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.name.startswith(".") or not file.is_file():
            continue
        link_file(file, target / file.name)


def link_file(source: Path, target: Path) -> None:
    """Give a file another name, or a copy where the file system has no hard links."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
