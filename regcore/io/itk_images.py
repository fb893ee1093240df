"""MetaImage and NRRD files, through SimpleITK in a process of its own."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.io.files import extension
from regcore.io.foreign import ForeignFileError, parse
from regcore.io.limits import largest_image_bytes

ITK_EXTENSIONS = (".mha", ".mhd", ".nrrd", ".nhdr")
LONGEST_HEADER = 2**16
# the key that says where the voxels are, and the value that says: here, behind the header
METAIMAGE_DATA = re.compile(
    rb"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*(.*?)[ \t\r]*$", re.IGNORECASE | re.MULTILINE
)
NRRD_DATA = re.compile(rb"^[ \t]*data ?file[ \t]*:=?[ \t]*(.*?)[ \t\r]*$", re.IGNORECASE | re.MULTILINE)


def itk_affine(origin: Any, spacing: Any, direction: Any) -> npt.NDArray[np.float64]:
    """RAS+ affine of ITK's LPS geometry; a 2D image lies in the plane z = 0."""
    size = len(origin)
    affine = np.eye(4)
    affine[:size, :size] = np.reshape(direction, (size, size)) * np.asarray(spacing)
    affine[:size, 3] = origin
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def read_itk_header(path: Path) -> tuple[tuple[int, ...], npt.NDArray[np.float64]]:
    """Shape and RAS+ affine of an image that SimpleITK reads, from its header alone."""
    description, _ = _parsed(path, "header")
    return tuple(description["shape"]), _affine(description)


def read_itk(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Values of an image that SimpleITK reads, x first, and its RAS+ affine.

    Raises
    ------
    InputError
        If SimpleITK is not installed, the file is damaged, larger than images may be, or not a scalar 2D or
        3D image, or its header points to voxels in another folder.
    """
    description, arrays = _parsed(path, "image")
    shape = description["shape"]
    if description["components"] != 1 or len(shape) not in (2, 3):
        raise InputError(
            f"{path}: expected a scalar 2D or 3D image, found {len(shape)}D with "
            f"{description['components']} values a voxel"
        )
    return arrays[0].reshape(shape, order="F"), _affine(description)


def _affine(description: dict[str, Any]) -> npt.NDArray[np.float64]:
    return itk_affine(*(description[key] for key in ("origin", "spacing", "direction")))


def _parsed(path: Path, kind: str) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
    if importlib.util.find_spec("SimpleITK") is None:
        raise InputError(
            f"{path}: expected SimpleITK for {extension(path)} files, found none installed "
            "(pip install 'regcore[formats]')"
        )
    _check_data_file(path)
    try:
        return parse(kind, path, largest_image_bytes())
    except ForeignFileError as error:
        raise InputError(
            f"{path}: expected a readable image, found a damaged or foreign file ({error})"
        ) from error


def _check_data_file(path: Path) -> None:
    """Refuse a header whose voxels are not its own: it could bring any file into the results."""
    with path.open("rb") as file:
        header = file.read(LONGEST_HEADER)
    if extension(path) in (".nrrd", ".nhdr"):
        found = NRRD_DATA.findall(header.split(b"\n\n")[0].split(b"\r\n\r\n")[0])
        inside = not found
    else:
        found = METAIMAGE_DATA.findall(header)[:1]
        inside = found == [b"LOCAL"]
    if inside:
        return
    if not found:
        raise InputError(f"{path}: expected a readable image, found a damaged or foreign file (no voxels)")
    name = found[0].decode("utf-8", "replace") if len(found) == 1 else ""
    plain = re.fullmatch(r"[^/\\%\s]+(?: [^/\\%\s]+)*", name) and name.upper() not in ("LIST", ".", "..")
    if not plain or not (path.parent / name).is_file():
        raise InputError(
            f"{path}: expected its voxels in the file or in one file beside it, found {name[:80]!r}"
        )
