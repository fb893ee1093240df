"""Affine transforms in world space, and their logarithms, means and parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from regcore.errors import InputError
from regcore.kernels.points import map_points

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Affine:
    """An affine map of world points.

    Parameters
    ----------
    matrix : array, shape (4, 4)
        World RAS+ mm of the fixed space to world RAS+ mm of the moving space.

    Raises
    ------
    InputError
        If the matrix is not finite, not invertible, or has a last row other than ``0 0 0 1``.

    Examples
    --------
    >>> Affine(np.diag([2.0, 1.0, 1.0, 1.0]))([1.0, 2.0, 3.0])
    array([2., 2., 3.])
    """

    matrix: Array

    def __post_init__(self) -> None:
        """Check the matrix and freeze it."""
        matrix = np.array(self.matrix, dtype=np.float64, order="C")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError(f"affine: expected a finite 4x4 matrix, found {matrix.tolist()}")
        if not np.allclose(matrix[3], [0.0, 0.0, 0.0, 1.0], atol=1e-9):
            raise InputError(f"affine: expected the last row 0 0 0 1, found {matrix[3].tolist()}")
        with np.errstate(all="ignore"):
            volume = abs(np.linalg.det(matrix[:3, :3]))
        if not 1e-12 <= volume < np.inf:
            raise InputError("affine: expected an invertible matrix, found a determinant of zero")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    def __call__(self, points: npt.ArrayLike) -> Array:
        """Mapped world points (mm), shape (..., 3)."""
        given = np.asarray(points, dtype=np.float64)
        return map_points(given.reshape(-1, 3), self.matrix).reshape(given.shape)

    def inverse(self) -> Affine:
        """Map back from the moving space to the fixed space."""
        inverse = np.array(np.linalg.inv(self.matrix), dtype=np.float64)
        inverse[3] = [0.0, 0.0, 0.0, 1.0]
        return Affine(inverse)

    def __matmul__(self, other: Affine) -> Affine:
        """Composition: ``(a @ b)(x) = a(b(x))``."""
        return Affine(self.matrix @ other.matrix)

    @classmethod
    def from_parameters(
        cls,
        translation: Sequence[float] | Array = (0.0, 0.0, 0.0),
        rotation: Sequence[float] | Array = (0.0, 0.0, 0.0),
        zooms: Sequence[float] | Array = (1.0, 1.0, 1.0),
        shears: Sequence[float] | Array = (0.0, 0.0, 0.0),
        centre: Sequence[float] | Array = (0.0, 0.0, 0.0),
    ) -> Affine:
        """Affine about a centre: ``x -> R Z S (x - centre) + centre + translation``.

        Parameters
        ----------
        translation : sequence of 3 float
            Shift, mm.
        rotation : sequence of 3 float
            Rotation vector: axis times angle, radians.
        zooms : sequence of 3 float
            Scale along x, y and z.
        shears : sequence of 3 float
            Entries xy, xz and yz of the unit upper triangular ``S``.
        centre : sequence of 3 float
            World point left in place by the linear part, mm.

        Examples
        --------
        >>> quarter = Affine.from_parameters(rotation=(0, 0, np.pi / 2), centre=(1, 0, 0))
        >>> np.round(quarter([2.0, 0.0, 0.0]), 6)
        array([1., 1., 0.])
        """
        shear = np.eye(3)
        shear[[0, 0, 1], [1, 2, 2]] = shears
        matrix = np.eye(4)
        x, y, z = np.asarray(rotation, dtype=np.float64)
        turn = matrix_exponential(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
        matrix[:3, :3] = turn @ np.diag(zooms) @ shear
        middle = np.asarray(centre, dtype=np.float64)
        matrix[:3, 3] = middle + translation - matrix[:3, :3] @ middle
        return cls(matrix)


class AffineParts(NamedTuple):
    """Parts of a 4x4 matrix, linear part ``R Z S`` (see `decompose`)."""

    translation: Array
    rotation: Array
    zooms: Array
    shears: Array


def decompose(matrix: npt.ArrayLike) -> AffineParts:
    """Translation, rotation, zooms and shears of an affine matrix, whose linear part is ``R Z S``.

    Parameters
    ----------
    matrix : array, shape (4, 4)
        Affine matrix.

    Returns
    -------
    AffineParts
        ``translation`` (3,) mm; ``rotation`` (3, 3), proper; ``zooms`` (3,), the first negative where the
        matrix reflects; ``shears`` (3,), entries xy, xz and yz of the unit upper triangular ``S``.

    Examples
    --------
    >>> decompose(np.diag([2.0, 3.0, 4.0, 1.0])).zooms
    array([2., 3., 4.])
    """
    full = Affine(np.asarray(matrix)).matrix
    rotation, upper = np.linalg.qr(full[:3, :3])
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    rotation, upper = rotation * signs, signs[:, None] * upper
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
        upper[0] *= -1
    zooms = np.diag(upper).copy()
    unit = upper / zooms[:, None]
    return AffineParts(full[:3, 3].copy(), rotation, zooms, unit[[0, 0, 1], [1, 2, 2]])


def log_affine(matrix: npt.ArrayLike) -> Array:
    """Principal logarithm of an affine matrix, shape (4, 4), by inverse scaling and squaring.

    Raises
    ------
    InputError
        If the matrix has no real logarithm: it reflects, or turns by half a circle.

    References
    ----------
    Arsigny et al. (2009), "A fast and log-Euclidean polyaffine framework for locally linear registration",
    J. Math. Imaging Vision, doi:10.1007/s10851-008-0135-9.

    Examples
    --------
    >>> np.round(log_affine(np.diag([np.e, 1.0, 1.0, 1.0])), 6)[0]
    array([1., 0., 0., 0.])
    """
    full = Affine(np.asarray(matrix)).matrix
    eigenvalues = np.linalg.eigvals(full[:3, :3])
    if ((np.abs(eigenvalues.imag) < 1e-9) & (eigenvalues.real <= 0)).any():
        raise InputError("affine: expected a matrix with a real logarithm, found a reflection or a half turn")
    # square roots until the series of log(root) = 2 artanh((root - 1) / (root + 1)) needs few terms; SciPy's
    # own logarithm takes a hundred times longer on so small a matrix when the linear algebra runs on threads
    root, doublings = full, 1
    while np.abs(root[:3, :3] - np.eye(3)).max() > 0.05:
        root = np.asarray(scipy.linalg.sqrtm(root)).real
        doublings += 1
    ratio = np.linalg.solve(root + np.eye(4), root - np.eye(4))
    term, total, square = ratio, ratio.copy(), ratio @ ratio
    for power in (3, 5, 7, 9, 11):
        term = term @ square
        total += term / power
    logarithm = np.array(total * 2.0**doublings, dtype=np.float64)
    logarithm[3] = 0.0
    return logarithm


def matrix_exponential(matrices: Array) -> Array:
    """Exponential of one or of several small matrices, shape (..., n, n).

    SciPy's does the same, but loading it takes a third of a second.

    References
    ----------
    Moler and Van Loan (2003), "Nineteen dubious ways to compute the exponential of a matrix, twenty-five
    years later", SIAM Review, doi:10.1137/S00361445024180 (scaling and squaring, with Taylor's series).

    Examples
    --------
    >>> matrix_exponential(np.array([[0.0, np.pi / 2], [-np.pi / 2, 0.0]])).round(12) + 0.0
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    size = float(np.abs(matrices).sum(axis=-1).max(initial=0.0))
    if not np.isfinite(size):
        return np.full(matrices.shape, np.nan)
    halvings = max(0, int(np.ceil(np.log2(size / 0.25)))) if size > 0 else 0
    scaled = matrices / 2.0**halvings
    # 0.25^12 / 12! lies below the last bit
    unit = np.eye(matrices.shape[-1])
    total = np.broadcast_to(unit, matrices.shape)
    for power in range(11, 0, -1):
        total = unit + scaled @ total / power
    for _ in range(halvings):
        total = total @ total
    return np.asarray(total)


def exp_affine(logarithm: npt.ArrayLike) -> Array:
    """Affine matrix (4, 4) of a logarithm (4, 4): the inverse of `log_affine`.

    Examples
    --------
    >>> bool(np.allclose(exp_affine(np.zeros((4, 4))), np.eye(4)))
    True
    """
    matrix = matrix_exponential(np.asarray(logarithm, dtype=np.float64))
    matrix[3] = [0.0, 0.0, 0.0, 1.0]
    return matrix


def mean_log_affine(matrices: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None) -> Array:
    """Mean of the logarithms of affine matrices, shape (4, 4); its exponential is the log-Euclidean mean.

    Parameters
    ----------
    matrices : sequence of arrays, shape (4, 4)
        Affine matrices.
    weights : sequence of float, optional
        One a matrix; equal by default.

    Raises
    ------
    InputError
        If there is no matrix, or one has no real logarithm.

    Examples
    --------
    >>> mean = exp_affine(mean_log_affine([np.diag([4.0, 1, 1, 1]), np.eye(4)]))
    >>> np.round(np.diag(mean), 6)
    array([2., 1., 1., 1.])
    """
    if len(matrices) == 0:
        raise InputError("mean of affines: expected at least one matrix, found none")
    logs = np.stack([log_affine(matrix) for matrix in matrices])
    return np.asarray(np.average(logs, axis=0, weights=weights))
