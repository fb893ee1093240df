"""Diffeomorphic registration by greedy composition of smoothed, bounded gradient steps.

Every step composes a displacement of about a voxel at most (`step_vox`), smooth enough to be a
diffeomorphism, into the map: ``phi <- phi o (id + step)``. The scheme is that of Christensen's fluid model in
the discrete form of Vercauteren et al. (doi:10.1016/j.neuroimage.2008.10.040) and of greedy diffeomorphic
registration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from regcore.image import Image
from regcore.kernels.compose import compose, longest_vector
from regcore.kernels.fields import resize_field
from regcore.kernels.layout import components, empty_field, from_components
from regcore.kernels.sample import sample_force, sample_linear, sample_nearest
from regcore.kernels.smooth import gaussian_smooth
from regcore.registration.landmark_term import LandmarkTerm
from regcore.registration.linear import IterationRow
from regcore.registration.pyramid import finest_spacing, planned_levels
from regcore.registration.settings import DeformableSettings
from regcore.registration.similarity import Channel, Metric, at_level, with_measures
from regcore.space import Grid
from regcore.transforms import Affine

Float32 = npt.NDArray[np.float32]


def onto_grid(field: Float32, old: Grid, new: Grid) -> Float32:
    """A displacement field in voxels of `old`, on `new`, whose axes are parallel to those of `old`.

    Where the grids are the same it is the field itself.
    """
    if old.shape == new.shape and (old.affine == new.affine).all():
        return field
    matrix = old.inverse_affine @ new.affine
    return resize_field(field, np.diag(matrix)[:3], matrix[:3, 3], new.shape)


def register_deformable(
    fixed: Image,
    moving: Image,
    settings: DeformableSettings,
    affine: Affine,
    initial: Float32 | None = None,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    progress: Callable[[IterationRow], None] | None = None,
    drift: Float32 | None = None,
    channels: Sequence[Channel] = (),
    landmarks: LandmarkTerm | None = None,
) -> tuple[Float32, list[IterationRow]]:
    """Displacement u on the grid of `fixed` such that ``moving(affine((id + u)(x)))`` matches ``fixed(x)``.

    Parameters
    ----------
    fixed, moving : Image
        Intensities in about [0, 1], background zero.
    settings : DeformableSettings
    affine : Affine
        Fixed to moving world points; stays as it is.
    initial : float32 array, shape (X, Y, Z, 3), optional
        Displacement to start from, voxels of `fixed`.
    fixed_mask, moving_mask : Image, optional
        Only voxels inside both count.
    progress : callable, optional
    drift : float32 array, shape (X, Y, Z, 3), optional
        Displacement that every level takes out, in equal parts over its iterations, voxels of `fixed`.
    channels : sequence of Channel
        Further images to match, with fixed images on the grid of `fixed`.
    landmarks : LandmarkTerm, optional
        Counted with the images.

    Returns
    -------
    displacement : float32 array, shape (X, Y, Z, 3)
        Voxels of `fixed`.
    rows : list of IterationRow
    """
    rows: list[IterationRow] = []
    field, field_grid = initial, fixed.grid
    for plan in planned_levels(fixed.grid, settings.levels(finest_spacing(fixed.grid))):
        current = at_level([Channel(fixed, moving), *channels], plan.fixed_mm, plan.moving_mm)
        coarse_grid = current[0].fixed.grid
        buffers = Buffers.of(coarse_grid.shape, len(current))
        pairs = with_measures(current, settings, buffers.extra)
        field = _zeros(coarse_grid) if field is None else onto_grid(field, field_grid, coarse_grid)
        if field is initial:
            # what was given stays as it is
            field = from_components(components(field).copy())
        field_grid = coarse_grid
        part = None
        if drift is not None:
            part = onto_grid(drift, fixed.grid, coarse_grid) / np.float32(plan.iterations)
        field = _run_level(
            pairs,
            settings,
            affine,
            field,
            part,
            buffers,
            fixed_mask,
            moving_mask,
            plan.number,
            plan.iterations,
            rows,
            progress,
            landmarks,
        )
    field = _zeros(fixed.grid) if field is None else onto_grid(field, field_grid, fixed.grid)
    return field, rows


class Buffers(NamedTuple):
    """What the iterations of a level write to; all of it is used again by the next iteration.

    Parameters
    ----------
    warped : float32 array, shape (X, Y, Z)
        The warped image, then the derivative by it.
    stack : float32 array, shape (4, X, Y, Z)
        The components of the force, from the second plane on; smoothing moves each one place to the front.
    extra : float32 array, shape (X, Y, Z, 3)
        Force of a further channel; the force itself where there is one channel.
    """

    warped: Float32
    stack: Float32
    extra: Float32

    @classmethod
    def of(cls, shape: tuple[int, int, int], channels: int) -> Buffers:
        """Buffers for a grid of a shape, and so many channels."""
        stack = np.empty((4, *shape), np.float32)
        extra = empty_field(shape) if channels > 1 else from_components(stack[1:])
        return cls(np.empty(shape, np.float32), stack, extra)

    @property
    def force(self) -> Float32:
        """Derivative of the energy by the displacement, shape (X, Y, Z, 3)."""
        return from_components(self.stack[1:])

    def smoothed_force(self, sigma_vox: float) -> Float32:
        """The force smoothed, shape (X, Y, Z, 3); the force itself is lost."""
        for axis in range(3):
            gaussian_smooth(self.stack[axis + 1], sigma_vox, out=self.stack[axis])
        return from_components(self.stack[:3])


def _zeros(grid: Grid) -> Float32:
    return from_components(np.zeros((3, *grid.shape), np.float32))


def _run_level(
    channels: list[tuple[Channel, Metric]],
    settings: DeformableSettings,
    affine: Affine,
    field: Float32,
    drift: Float32 | None,
    buffers: Buffers,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    number: int,
    iterations: int,
    rows: list[IterationRow],
    progress: Callable[[IterationRow], None] | None,
    landmarks: LandmarkTerm | None,
) -> Float32:
    grid = channels[0][0].fixed.grid
    weights = None if fixed_mask is None else level_weights(grid, fixed_mask)
    flat = [axis for axis, n in enumerate(grid.shape) if n == 1]
    force = buffers.force
    energies: list[float] = []
    for iteration in range(1, iterations + 1):
        counted = _with_moving_mask(weights, moving_mask, affine, grid, field)
        energy = _energy(channels, affine, field, counted, buffers)
        if landmarks is not None:
            energy += landmarks.of_field(field, grid, affine.matrix, force)
        energies.append(energy)
        row = IterationRow("deformable", number, iteration, energy, energy)
        rows.append(row)
        if progress is not None:
            progress(row)
        if converged(energies, settings.tolerance):
            break
        for axis in flat:
            force[..., axis] = 0
        step = buffers.smoothed_force(settings.update_sigma_vox)
        longest = longest_vector(step)
        if longest == 0:
            break
        scale = -settings.step_vox / longest
        if drift is not None:
            step -= drift / np.float32(scale)
        composed = compose(field, step, scale, out=step)
        if settings.field_sigma_vox > 0:
            gaussian_smooth(composed, settings.field_sigma_vox, out=field)
        else:
            np.copyto(field, composed)
    return field


def _energy(
    channels: list[tuple[Channel, Metric]],
    affine: Affine,
    field: Float32,
    weights: Float32 | None,
    buffers: Buffers,
) -> float:
    """Sum of the measures of all channels under a displacement; its derivative is then the buffers' force."""
    total, force = 0.0, buffers.force
    for number, ((fixed, moving, weight, _), metric) in enumerate(channels):
        matrix = moving.grid.inverse_affine @ affine.matrix @ fixed.grid.affine
        part = buffers.extra if number else force
        # the image is read twice, so that the measure can write where the force comes afterwards
        value, slope = metric(sample_linear(moving.data, matrix, field, out=buffers.warped), weights)
        total += weight * value
        sample_force(moving.data, matrix, field, slope, out=part)
        if weight != 1:
            part *= np.float32(weight)
        if number:
            force += part
    return total


def converged(energies: list[float], tolerance: float, window: int = 10) -> bool:
    """Whether the energy fell by less than `tolerance` (relative) over the last `window` iterations.

    Examples
    --------
    >>> converged([1.0] * 11, 1e-3)
    True
    >>> converged([1.0 - 0.05 * k for k in range(11)], 1e-3)
    False
    """
    if tolerance == 0 or len(energies) <= window:
        return False
    before, now = energies[-window - 1], min(energies[-window:])
    return before - now < tolerance * abs(before)


def level_weights(grid: Grid, fixed_mask: Image | None) -> Float32:
    """Weight of every voxel of a level: inside the mask, or everywhere."""
    if fixed_mask is None:
        return np.ones(grid.shape, np.float32)
    onto = fixed_mask.grid.inverse_affine @ grid.affine
    return sample_linear(fixed_mask.data.astype(np.float32), onto, shape=grid.shape)


def _with_moving_mask(
    weights: Float32 | None, moving_mask: Image | None, affine: Affine, grid: Grid, field: Float32
) -> Float32 | None:
    if moving_mask is None:
        return weights
    onto = moving_mask.grid.inverse_affine @ affine.matrix @ grid.affine
    carried: Float32 = sample_nearest(moving_mask.data.astype(np.float32), onto, field)
    return carried if weights is None else weights * carried
