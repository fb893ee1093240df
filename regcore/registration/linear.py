"""Linear registration: a similarity measure minimised over rigid, similarity or affine parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.image import Image
from regcore.kernels.fields import matrix_gradient
from regcore.kernels.sample import sample_linear, sample_linear_gradient
from regcore.registration.landmark_term import LandmarkTerm
from regcore.registration.pyramid import finest_spacing
from regcore.registration.quasi_newton import minimise
from regcore.registration.rotations import all_turns, flat_normal, local_turns
from regcore.registration.settings import LinearSettings
from regcore.registration.similarity import Channel, Metric, at_level, sampled, with_measures
from regcore.space import Array, Grid
from regcore.transforms import Affine
from regcore.transforms.affine import matrix_exponential

SEARCH_ITERATIONS = 8
# of a search over all rotations: radius of the object in voxels, starts refined, answers kept, and those that
# only the next level tells apart
SEARCH_RADIUS_VOX, SEARCH_REFINED, SEARCH_KEPT, SEARCH_OPEN = 8, 32, 8, 3
PARAMETERS = {"translation": 3, "rigid": 6, "similarity": 7, "affine": 12}
TURNS: Array = np.array(
    [
        [[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]],
        [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    ]
)
"""Generators of rotations about x, y and z."""
_UNIT: Array = np.eye(9).reshape(9, 3, 3)
STRETCHES: dict[str, Array] = {
    "translation": _UNIT[:0],
    "rigid": _UNIT[:0],
    "similarity": np.eye(3)[None],
    # along x, y and z, then shears xy, xz and yz
    "affine": np.concatenate([_UNIT[[0, 4, 8]], _UNIT[[1, 2, 5]] + _UNIT[[3, 6, 7]]]),
}
"""Generators of the symmetric part of each model."""


class IterationRow(NamedTuple):
    """One iteration of a registration: ``energy = data_term + regularisation_weight * regulariser_term``."""

    stage: str
    level: int
    iteration: int
    energy: float
    data_term: float
    regularisation_weight: float = 0.0
    regulariser_term: float = 0.0


@dataclass(frozen=True)
class LinearModel:
    """Affine maps ``x -> linear (x - centre) + centre + translation + start``, by parameters in millimetres.

    Parameters 0-2 translate, 3-5 rotate (rotation vector times `radius_mm`), 6 scales (or 6-11 strain: the
    logarithm of a symmetric stretch) times `radius_mm`: one unit of any of them moves a point at the radius
    by about a millimetre, which is what makes one optimiser step suit all of them.
    """

    model: str
    start: Array
    centre: Array
    radius_mm: float

    @property
    def size(self) -> int:
        """Number of parameters."""
        return PARAMETERS[self.model]

    def matrix(self, parameters: Array) -> Array:
        """World-to-world matrix, shape (4, 4), mm."""
        return self.matrix_and_jacobian(parameters)[0]

    def matrix_and_jacobian(self, parameters: Array) -> tuple[Array, Array]:
        """World-to-world matrix, shape (4, 4), and the derivative of its top rows, shape (n, 3, 4)."""
        scaled = parameters[3:] / self.radius_mm
        turn, by_turn = _exponential(scaled[:3], TURNS[: len(scaled)])
        stretch, by_stretch = _exponential(scaled[3:], STRETCHES[self.model])
        linear = turn @ stretch
        change = np.eye(4)
        change[:3, :3] = linear
        change[:3, 3] = self.centre - linear @ self.centre + parameters[:3]
        derivative = np.zeros((self.size, 3, 4))
        derivative[:3, :, 3] = np.eye(3)
        by_linear = np.concatenate([by_turn @ stretch, turn @ by_stretch]) / self.radius_mm
        derivative[3:, :, :3] = by_linear
        derivative[3:, :, 3] = -by_linear @ self.centre
        return self.start @ change, self.start[:3, :3] @ derivative


def _exponential(coefficients: Array, basis: Array) -> tuple[Array, Array]:
    """Exponential of a combination of (n, 3, 3) matrices, and its derivative by each coefficient.

    The derivative along E of exp(A) is a block of exp([[A, E], [0, A]]) (Van Loan 1978,
    doi:10.1109/TAC.1978.1101743).
    """
    if not len(basis):
        return np.eye(3), np.zeros((0, 3, 3))
    blocks = np.zeros((len(basis), 6, 6))
    blocks[:, :3, :3] = blocks[:, 3:, 3:] = np.einsum("n,nij->ij", coefficients, basis)
    blocks[:, :3, 3:] = basis
    powers = matrix_exponential(blocks)
    return powers[0, :3, :3], powers[:, :3, 3:]


def mask_weights(
    grid: Grid, matrix: Array, fixed_mask: Image | None, moving_mask: Image | None
) -> npt.NDArray[np.float32] | None:
    """Weight of every voxel of a grid: product of the masks, the moving one carried by `matrix` (world)."""
    weights = None
    if fixed_mask is not None:
        onto = fixed_mask.grid.inverse_affine @ grid.affine
        weights = sample_linear(fixed_mask.data.astype(np.float32), onto, shape=grid.shape)
    if moving_mask is not None:
        onto = moving_mask.grid.inverse_affine @ matrix @ grid.affine
        carried = sample_linear(moving_mask.data.astype(np.float32), onto, shape=grid.shape)
        weights = carried if weights is None else weights * carried
    return weights


def intensity_moments(image: Image) -> tuple[Array, Array]:
    """Centre of mass (mm) and covariance (mm2) of an image whose background is zero."""
    data = np.maximum(image.data.astype(np.float64), 0)
    total = max(float(data.sum()), 1e-12)
    axes = [np.arange(n, dtype=np.float64) for n in image.grid.shape]
    marginals = [data.sum(axis=tuple(j for j in range(3) if j != i)) for i in range(3)]
    centre = np.array([float((m * a).sum()) / total for m, a in zip(marginals, axes, strict=True)])
    covariance = np.empty((3, 3))
    for i in range(3):
        for j in range(i, 3):
            if i == j:
                value = float((marginals[i] * (axes[i] - centre[i]) ** 2).sum()) / total
            else:
                plane = data.sum(axis=3 - i - j)
                value = float((axes[i] - centre[i]) @ plane @ (axes[j] - centre[j])) / total
            covariance[i, j] = covariance[j, i] = value
    turn = image.grid.affine[:3, :3]
    return image.grid.to_world(centre), turn @ covariance @ turn.T


def _principal_axes(covariance: Array) -> Array:
    values, axes = np.linalg.eigh(covariance)
    axes = axes[:, np.argsort(values)[::-1]]
    # of the two directions of every axis take the one nearest the world axis it mostly lies along
    for i in range(3):
        axes[:, i] *= np.sign(axes[np.argmax(np.abs(axes[:, i])), i])
    if np.linalg.det(axes) < 0:
        axes[:, 2] *= -1
    return np.asarray(axes)


def initial_affine(fixed: Image, moving: Image, how: str) -> Affine:
    """Affine that brings centres of mass (and principal axes, for ``"moments"``) onto each other.

    Parameters
    ----------
    fixed, moving : Image
        Background zero.
    how : {"center_of_mass", "moments", "identity"}
    """
    matrix = np.eye(4)
    if how != "identity":
        fixed_centre, fixed_covariance = intensity_moments(fixed)
        moving_centre, moving_covariance = intensity_moments(moving)
        if how == "moments":
            matrix[:3, :3] = _principal_axes(moving_covariance) @ _principal_axes(fixed_covariance).T
        matrix[:3, 3] = moving_centre - matrix[:3, :3] @ fixed_centre
    return Affine(matrix)


def _energy(
    channels: list[tuple[Channel, Metric]],
    matrix: Array,
    weights: npt.NDArray[np.float32] | None,
    landmarks: LandmarkTerm | None = None,
) -> tuple[float, Array]:
    """Sum of the measures of all channels under a world matrix, and its derivative by the top three rows."""
    total, by_matrix = (0.0, np.zeros((3, 4))) if landmarks is None else landmarks.of_matrix(matrix)
    for (fixed, moving, weight, _), metric in channels:
        to_voxel, from_voxel = moving.grid.inverse_affine, fixed.grid.affine
        onto = to_voxel @ matrix @ from_voxel
        warped, gradient = sample_linear_gradient(moving.data, onto, shape=fixed.grid.shape)
        value, slope = metric(warped, weights)
        total += weight * value
        by_matrix += weight * (to_voxel[:3, :3].T @ matrix_gradient(slope, gradient) @ from_voxel.T)
    return total, by_matrix


@dataclass(frozen=True, eq=False)
class _Level:
    """Everything that an energy at one level depends on."""

    settings: LinearSettings
    channels: list[tuple[Channel, Metric]]
    fixed_mask: Image | None
    moving_mask: Image | None
    centre: Array
    radius_mm: float
    landmarks: LandmarkTerm | None = None

    def minimise(
        self, start: Array, iterations: int, note: Callable[[float], None] | None = None
    ) -> tuple[float, Array]:
        """Least energy found from the world matrix `start`, and its world matrix."""
        model = LinearModel(self.settings.model, start, self.centre, self.radius_mm)
        grid = self.channels[0][0].fixed.grid
        weights = mask_weights(grid, start, self.fixed_mask, self.moving_mask)

        def energy(parameters: Array) -> tuple[float, Array]:
            matrix, jacobian = model.matrix_and_jacobian(parameters)
            value, by_matrix = _energy(self.channels, matrix, weights, self.landmarks)
            change = np.einsum("nij,ij->n", jacobian, by_matrix)
            return value, _in_plane(change, grid) if grid.is_2d else change

        value, parameters = minimise(energy, np.zeros(model.size), iterations, note=note)
        return value, model.matrix(parameters)


def _refined(stage: _Level, starts: Sequence[Array]) -> list[tuple[float, Array]]:
    return [stage.minimise(start, SEARCH_ITERATIONS) for start in starts]


def _all_rotations(
    channels: Sequence[Channel], stage: _Level, current: Array, voxel_mm: float
) -> list[Array]:
    """World matrices of the best few of all rotations, refined on a level that shows the object coarsely."""
    coarse_mm = max(voxel_mm, stage.radius_mm / SEARCH_RADIUS_VOX)
    # scale and shear would let a wrong rotation come out better
    settings = replace(stage.settings, model="rigid")
    pairs = with_measures(at_level(channels, coarse_mm, coarse_mm), settings)
    search = replace(stage, settings=settings, channels=pairs)
    grid = pairs[0][0].fixed.grid
    turned = [current @ turn for turn in all_turns(grid, stage.centre)]
    energies = [
        _energy(
            pairs, start, mask_weights(grid, start, stage.fixed_mask, stage.moving_mask), stage.landmarks
        )[0]
        for start in turned
    ]
    best = [turned[k] for k in np.argsort(energies, kind="stable")[:SEARCH_REFINED]]
    refined = sorted(_refined(search, best), key=lambda pair: pair[0])
    return [matrix for _, matrix in refined[:SEARCH_KEPT]]


def register_linear(
    fixed: Image,
    moving: Image,
    settings: LinearSettings,
    initial: Affine,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    progress: Callable[[IterationRow], None] | None = None,
    channels: Sequence[Channel] = (),
    landmarks: LandmarkTerm | None = None,
) -> tuple[Affine, list[IterationRow]]:
    """Best linear map from `fixed` to `moving` world points, starting at `initial`.

    Parameters
    ----------
    fixed, moving : Image
        Intensities in about [0, 1], background zero; what lies outside `moving` counts as background.
    settings : LinearSettings
    initial : Affine
    fixed_mask, moving_mask : Image, optional
        Only voxels inside both count.
    progress : callable, optional
    channels : sequence of Channel
        Further images to match, with fixed images on the grid of `fixed`.
    landmarks : LandmarkTerm, optional
        Counted with the images.

    Returns
    -------
    affine : Affine
    rows : list of IterationRow
    """
    finest = finest_spacing(fixed.grid)
    centre, covariance = intensity_moments(fixed)
    radius = max(2.0 * float(np.sqrt(np.trace(covariance) / 3)), finest)
    rows: list[IterationRow] = []
    candidates: list[Array] = [np.array(initial.matrix)]
    every = [Channel(fixed, moving), *channels]
    for number, (shrink, iterations) in enumerate(zip(settings.shrink, settings.iterations, strict=True)):
        seen = sampled(at_level(every, shrink * finest, shrink * finest), settings.sampling_step)
        pairs = with_measures(seen, settings)
        stage = _Level(settings, pairs, fixed_mask, moving_mask, centre, radius, landmarks)
        if number == 0 and settings.model != "translation":
            full = settings.rotation_search == "full"
            starts = candidates
            if full:
                starts = _all_rotations(every, stage, candidates[0], shrink * finest)
            elif settings.rotations_deg > 0:
                turns = local_turns(settings.rotations_deg, fixed.grid, centre)
                starts = [candidates[0] @ turn for turn in turns]
            if len(starts) > 1:
                refined = sorted(_refined(stage, starts), key=lambda pair: pair[0])
                candidates = _apart([matrix for _, matrix in refined], stage, shrink * finest)
                candidates = candidates[: SEARCH_OPEN if full else 1]
        tries = []
        for start in candidates:
            told: list[float] = []
            tries.append((*stage.minimise(start, iterations, told.append), told))
        tries.sort(key=lambda found: found[0])
        for energy in tries[0][2]:
            rows.append(IterationRow(settings.model, number, len(rows) + 1, energy, energy))
            if progress is not None:
                progress(rows[-1])
        candidates = [matrix for _, matrix, _ in tries[: len(tries) if number == 0 else 1]]
    return Affine(candidates[0]), rows


def _apart(matrices: Sequence[Array], stage: _Level, voxel_mm: float) -> list[Array]:
    """Those that take the object's surroundings at least a voxel from where any before takes them."""
    corners = np.append(
        stage.centre + stage.radius_mm * np.vstack([np.eye(3), -np.eye(3)]), np.ones((6, 1)), 1
    )
    kept: list[Array] = []
    for matrix in matrices:
        gaps = [np.linalg.norm(corners @ (matrix - other)[:3].T, axis=1).mean() for other in kept]
        if all(gap >= voxel_mm for gap in gaps):
            kept.append(matrix)
    return kept


def _in_plane(change: Array, grid: Grid) -> Array:
    """Drop the parts of a gradient that would move a 2D image out of its plane."""
    normal = flat_normal(grid)
    kept = change.copy()
    kept[:3] -= normal * (normal @ kept[:3])
    if change.size >= 6:
        kept[3:6] = normal * (normal @ kept[3:6])
    if change.size == 12:
        a, b, c, d, e, f = kept[6:]
        strain = np.array([[a, d / 2, e / 2], [d / 2, b, f / 2], [e / 2, f / 2, c]])
        plane = np.eye(3) - np.outer(normal, normal)
        strain = plane @ strain @ plane
        kept[6:] = [strain[0, 0], strain[1, 1], strain[2, 2], *(2 * strain[[0, 0, 1], [1, 2, 2]])]
    return kept
