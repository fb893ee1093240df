"""The matrix of each of ITK's linear transform types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError

Array = npt.NDArray[np.float64]

# number of parameters of each type; all but the translation and the identity turn about a centre
PARAMETERS = {
    "AffineTransform": 12,
    "MatrixOffsetTransformBase": 12,
    "Rigid3DTransform": 12,
    "Euler3DTransform": 6,
    "VersorRigid3DTransform": 6,
    "Similarity3DTransform": 7,
    "TranslationTransform": 3,
    "IdentityTransform": 0,
}


def linear_matrix(path: Path, kind: str, parameters: Array, fixed: Array) -> Array:
    """Matrix of a linear ITK transform in LPS mm, shape (4, 4).

    Parameters
    ----------
    path : Path
        File, for the message of an error.
    kind : str
        ITK's type, such as ``AffineTransform_double_3_3``.
    parameters, fixed : arrays
        As the file holds them; the fixed parameters begin with the centre.

    Raises
    ------
    InputError
        If the type is not one of `PARAMETERS` in 3D, or the number of parameters is another.

    Examples
    --------
    >>> shift = np.array([1.0, 2.0, 3.0])
    >>> linear_matrix(Path("a.txt"), "TranslationTransform_double_3_3", shift, np.zeros(0))[:3, 3]
    array([1., 2., 3.])
    """
    name, _, spaces = kind.partition("_")
    if name not in PARAMETERS or not spaces.endswith("3_3"):
        raise InputError(f"{path}: expected a 3D affine, rigid or field transform, found {kind!r}")
    if parameters.size != PARAMETERS[name]:
        raise InputError(
            f"{path}: expected {PARAMETERS[name]} parameters for {name}, found {parameters.size}"
        )
    matrix = np.eye(4)
    if name == "IdentityTransform":
        return matrix
    if name == "TranslationTransform":
        matrix[:3, 3] = parameters
        return matrix
    if fixed.size < 3:
        raise InputError(
            f"{path}: expected a centre in the fixed parameters of {name}, found {fixed.size} numbers"
        )
    if name == "Euler3DTransform":
        linear, shift = _euler(parameters[:3], fixed), parameters[3:6]
    elif name in ("VersorRigid3DTransform", "Similarity3DTransform"):
        scale = parameters[6] if name == "Similarity3DTransform" else 1.0
        linear, shift = scale * _versor(parameters[:3]), parameters[3:6]
    else:
        linear, shift = parameters[:9].reshape(3, 3), parameters[9:]
    matrix[:3, :3] = linear
    matrix[:3, 3] = fixed[:3] + shift - linear @ fixed[:3]
    return matrix


def _versor(vector: Array) -> Array:
    """Rotation of a versor: axis times the sine of half the angle."""
    x, y, z = vector
    w = np.sqrt(max(1.0 - float(vector @ vector), 0.0))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _euler(angles: Array, fixed: Array) -> Array:
    """Rotation of Euler angles (radians): Z X Y, or Z Y X where a fourth fixed parameter says so."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1.0, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0.0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0.0], [sz, cz, 0], [0, 0, 1]])
    if fixed.size > 3 and fixed[3] != 0:
        return np.asarray(about_z @ about_y @ about_x)
    return np.asarray(about_z @ about_x @ about_y)
