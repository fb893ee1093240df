"""Files of ours that are not as they were written: noticed before they are used, moved aside, made again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from regcore.errors import DamagedFileError, InputError
from regcore.io.tables import read_json, write_json

CHECKSUMS = "checksums.json"
DAMAGED = "damaged"


def seal_folder(folder: Path) -> None:
    """Write the SHA-256 of every file of a folder beside them.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = (Path(name) / "a.nii").write_bytes(b"voxels")
    ...     seal_folder(Path(name))
    ...     verify_folder(Path(name))
    ...     _ = (Path(name) / "a.nii").write_bytes(b"voxelz")
    ...     try:
    ...         verify_folder(Path(name))
    ...     except DamagedFileError as error:
    ...         print(str(error).replace(name, "work"))
    work/a.nii: expected the bytes that were written, found others (damaged)
    """
    files = {file.name: _digest(file) for file in sorted(folder.iterdir()) if _is_content(file)}
    write_json(folder / CHECKSUMS, files)


def verify_folder(folder: Path) -> None:
    """Refuse a folder whose files are not as `seal_folder` found them.

    Raises
    ------
    DamagedFileError
        For the first file that is missing or has other bytes.
    """
    try:
        known = read_json(folder / CHECKSUMS)
        for name, digest in known.items():
            if _digest(folder / name) != digest:
                raise DamagedFileError(folder / name)
    except (InputError, OSError, AttributeError) as error:
        raise DamagedFileError(folder / CHECKSUMS) from error


def move_aside(path: Path, work: Path) -> list[Path]:
    """Move the folder that a damaged file belongs to away, so that the next start makes it again.

    Nothing outside `work` is touched, and nothing is deleted.

    Parameters
    ----------
    path : Path
        The damaged file: in a folder of `work`, or published by one of its jobs.
    work : Path
        Working folder of the study.

    Returns
    -------
    list of Path
        Folders that were moved.
    """
    path, work = path.absolute(), work.absolute()
    folders = [path.parent] if work in path.parent.parents else list(_publishers(path, work))
    moved = []
    for folder in folders:
        target = work / DAMAGED / "_".join(folder.relative_to(work).parts)
        if folder.is_dir() and folder.parent != work:
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.replace(target)
            moved.append(folder)
    return moved


def _publishers(path: Path, work: Path) -> Iterator[Path]:
    """Folders of the jobs that published a file: their manifests say so."""
    for manifest in sorted(work.glob("*/*/manifest.json")):
        if manifest.parent.parent.name == DAMAGED:
            continue
        try:
            published = read_json(manifest).get("published", ())
        except (InputError, AttributeError):
            continue
        if path.name in published:
            yield manifest.parent


def _is_content(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name != CHECKSUMS


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
