"""MetaImage and NRRD files, through SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.io.files import extension, unreadable

ITK_EXTENSIONS = (".mha", ".mhd", ".nrrd", ".nhdr")


def simpleitk(path: Path) -> Any:
    """SimpleITK, which is an optional extra.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError(
            f"{path}: expected SimpleITK for {extension(path)} files, found none installed "
            "(pip install 'regcore[formats]')"
        ) from error
    return SimpleITK


def itk_affine(origin: Any, spacing: Any, direction: Any) -> npt.NDArray[np.float64]:
    """RAS+ affine of ITK's LPS geometry; a 2D image lies in the plane z = 0."""
    size = len(origin)
    affine = np.eye(4)
    affine[:size, :size] = np.reshape(direction, (size, size)) * np.asarray(spacing)
    affine[:size, 3] = origin
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def read_itk_header(path: Path) -> tuple[tuple[int, ...], npt.NDArray[np.float64]]:
    """Shape and RAS+ affine of an image that SimpleITK reads, from its header alone."""
    reader = simpleitk(path).ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return tuple(reader.GetSize()), itk_affine(reader.GetOrigin(), reader.GetSpacing(), reader.GetDirection())


def read_itk(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Values of an image that SimpleITK reads, x first, and its RAS+ affine.

    Raises
    ------
    InputError
        If SimpleITK is not installed, or the file is damaged or not a scalar 2D or 3D image.
    """
    itk = simpleitk(path)
    try:
        image = itk.ReadImage(str(path))
    except RuntimeError as error:
        raise unreadable(path, error) from error
    components, dimension = image.GetNumberOfComponentsPerPixel(), image.GetDimension()
    if components != 1 or dimension not in (2, 3):
        raise InputError(
            f"{path}: expected a scalar 2D or 3D image, found {dimension}D with {components} values a voxel"
        )
    values = itk.GetArrayFromImage(image)
    if values.dtype.kind not in "iuf":
        raise InputError(f"{path}: expected one number a voxel, found data of type {values.dtype}")
    return values.T, itk_affine(image.GetOrigin(), image.GetSpacing(), image.GetDirection())
