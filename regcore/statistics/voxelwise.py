"""The general linear model of every voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from regcore.errors import InputError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

VOXELS_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class Fit:
    """A contrast in every voxel.

    Parameters
    ----------
    effect : float32 array, shape (voxels,)
        The contrast of the coefficients, in the unit of the response.
    t : float32 array, shape (voxels,)
        Over its standard error; 0 where the residuals are all 0.
    p : float64 array, shape (voxels,)
        Two-sided, of one voxel by itself.
    degrees : int
        Residual degrees of freedom.
    """

    effect: Float32
    t: Float32
    p: Float64
    degrees: int

    @property
    def q(self) -> Float64:
        """False discovery rate at which each voxel is found (Benjamini and Hochberg)."""
        return np.asarray(scipy.stats.false_discovery_control(self.p))

    @property
    def partial_correlation(self) -> Float32:
        """Of the response and what is contrasted, the rest of the design taken out of both."""
        return np.asarray(self.t / np.sqrt(self.t.astype(np.float64) ** 2 + self.degrees), np.float32)


def fit_contrast(matrix: Float64, values: Float32, weights: Float64) -> Fit:
    """Fit a linear model by least squares in every voxel, and contrast its coefficients.

    Parameters
    ----------
    matrix : array, shape (participants, columns)
        Of full rank.
    values : float32 array, shape (participants, voxels)
    weights : array, shape (columns,)

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        If the shapes do not fit, or no degree of freedom is left.

    Examples
    --------
    >>> matrix = np.array([[1.0, 0], [1, 1], [1, 2], [1, 3]])
    >>> fit = fit_contrast(matrix, np.array([[0.0], [1.1], [1.9], [3.0]], np.float32), np.array([0.0, 1.0]))
    >>> round(float(fit.effect[0]), 3), round(float(fit.t[0]), 2), fit.degrees
    (0.98, 23.1, 2)
    """
    rows, columns = matrix.shape
    if values.ndim != 2 or len(values) != rows or weights.shape != (columns,) or rows <= columns:
        raise InputError(
            f"design: expected more rows than its {columns} columns, and a map for each, found {rows} rows, "
            f"maps {values.shape} and {weights.size} weights"
        )
    inverse = np.linalg.pinv(matrix)
    degrees = rows - columns
    scale = float(weights @ (inverse @ inverse.T) @ weights)
    effect, t = (np.empty(values.shape[1], np.float32) for _ in range(2))
    for start in range(0, values.shape[1], VOXELS_AT_ONCE):
        part = slice(start, start + VOXELS_AT_ONCE)
        here = values[:, part].astype(np.float64)
        coefficients = inverse @ here
        variance = np.square(here - matrix @ coefficients).sum(axis=0) / degrees
        contrast = weights @ coefficients
        error = np.sqrt(variance * scale)
        # maps are rounded: what is constant leaves rounding errors, not residuals
        some = error > 1e-9 * np.abs(here).max(axis=0, initial=1e-30)
        effect[part] = contrast
        t[part] = np.divide(contrast, error, out=np.zeros_like(contrast), where=some)
    p = 2 * scipy.stats.t.sf(np.abs(t.astype(np.float64)), degrees)
    return Fit(effect, t, np.asarray(p), degrees)
