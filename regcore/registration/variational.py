"""Registration that minimises ``D + weight * R``: elastic, by a stationary velocity, and symmetric.

``displacement`` reads the moving image at ``x + u(x)`` and regularises u (elastic matching; Modersitzki,
FAIR, 2009, doi:10.1137/1.9780898718843). ``velocity`` reads it at ``exp(v)(x)`` and regularises v: steps add
to the logarithm, and the inverse is ``exp(-v)`` (log-domain demons; Vercauteren et al., 2008,
doi:10.1007/978-3-540-85988-8_90). ``symmetric`` reads the moving image at ``exp(v / 2)(x)`` and the fixed one
at ``exp(-v / 2)(x)``, both in the middle between them, so that swapping the images gives the inverse (in the
spirit of Avants et al., 2008, doi:10.1016/j.media.2007.06.004).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from regcore.image import Image
from regcore.kernels.exponential import exponential, logarithm
from regcore.kernels.fields import carry_field, displacement_gradient
from regcore.kernels.sample import sample_linear, sample_linear_gradient
from regcore.registration.deformable import deformable_metric, level_weights
from regcore.registration.descent import Energy, descend
from regcore.registration.linear import IterationRow, Metric
from regcore.registration.middle import Frame, middle_frame
from regcore.registration.pyramid import finest_spacing, level, level_factors, working_crop
from regcore.registration.settings import DEFAULT_WEIGHTS, DeformableSettings
from regcore.regularisers import bending, diffusion, elastic, total_variation
from regcore.space import Array, Grid
from regcore.transforms import Affine, identity

Float32 = npt.NDArray[np.float32]
Regulariser = Callable[..., tuple[float, Float32]]
FADING_VOX = 4


def regulariser_of(settings: DeformableSettings) -> Regulariser:
    """The regulariser of the settings as a function of field and spacing."""
    regularisers: dict[str, Regulariser] = {
        "diffusion": diffusion.value_and_gradient,
        "bending": bending.value_and_gradient,
        "elastic": partial(elastic.value_and_gradient, mu=settings.lame_mu, lamb=settings.lame_lambda),
        "total_variation": total_variation.value_and_gradient,
    }
    return regularisers[settings.regulariser]


@dataclass(frozen=True, eq=False)
class _Side:
    """An image that is read through a field, with its mask."""

    image: Image
    mask: Image | None
    to_image: Affine

    def read(self, grid: Grid, field: Float32) -> tuple[Float32, Float32, Array]:
        """Image, its derivative per voxel of its own, and voxel of the grid to voxel of the image."""
        matrix = self.image.grid.inverse_affine @ self.to_image.matrix @ grid.affine
        return *sample_linear_gradient(self.image.data, matrix, field), matrix

    def counted(self, weights: Float32, grid: Grid, field: Float32) -> Float32:
        """Weights of voxels by how much of them lies in the mask."""
        if self.mask is None:
            return weights
        return weights * sample_linear(
            self.mask.data, self.mask.grid.inverse_affine @ self.to_image.matrix @ grid.affine, field
        )


def _side(image: Image, mask: Image | None, to_image: Affine, target_mm: float) -> _Side:
    soft = None if mask is None else _fading(Image(mask.data.astype(np.float32), mask.grid))
    return _Side(_fading(level(image, target_mm)), soft, to_image)


def _fading(image: Image) -> Image:
    """An image with a border that fades to zero: a jump where a point leaves it would stop a descent."""
    border = [0 if n == 1 else FADING_VOX for n in image.grid.shape]
    beyond = [n + b for n, b in zip(image.grid.shape, border, strict=True)]
    data = np.pad(image.data, [(b, b) for b in border], mode="linear_ramp")
    return Image(data, image.grid.crop([-b for b in border], beyond))


def weight_of(settings: DeformableSettings, grid: Grid) -> float:
    """Weight of the regulariser; its own where none is set, which for bending goes with the voxels' area."""
    if settings.regularisation_weight is not None:
        return settings.regularisation_weight
    own = DEFAULT_WEIGHTS[settings.regulariser]
    return own * finest_spacing(grid) ** 2 if settings.regulariser == "bending" else own


@dataclass(frozen=True, eq=False)
class _Level:
    """Everything that an energy at one level depends on; the field lies on the grid."""

    stationary: bool
    grid: Grid
    fixed: Image | _Side
    moving: _Side
    weights: Float32
    metric: Metric
    regulariser: Regulariser
    weight: float

    def energy(self, field: Float32) -> Energy:
        """Energy of a displacement or velocity in voxels, and its gradient."""
        data, gradient = self._data_term(field)
        value, slope = self.regulariser(field, self.grid.spacing)
        gradient += np.float32(self.weight) * slope
        for axis, n in enumerate(self.grid.shape):
            if n == 1:
                gradient[..., axis] = 0
        return Energy(data + self.weight * value, data, value, gradient)

    def _data_term(self, field: Float32) -> tuple[float, Float32]:
        if isinstance(self.fixed, _Side):
            return self._of_both(self.fixed, field)
        there = exponential(field) if self.stationary else field
        warped, gradient, matrix = self.moving.read(self.grid, there)
        counted = self.moving.counted(self.weights, self.grid, there)
        value, slope = self.metric(self.fixed.data, warped, counted)
        return value, displacement_gradient(slope, gradient, matrix)

    def _of_both(self, fixed: _Side, velocity: Float32) -> tuple[float, Float32]:
        """Data term of both images in the middle; the mean of both orders, so that none comes first."""
        half = np.float32(0.5) * velocity
        there, back = exponential(half), exponential(-half)
        moved, gradient, matrix = self.moving.read(self.grid, there)
        held, held_gradient, held_matrix = fixed.read(self.grid, back)
        counted = fixed.counted(self.moving.counted(self.weights, self.grid, there), self.grid, back)
        value, slope = self.metric(held, moved, counted)
        forward = displacement_gradient(slope, gradient, matrix)
        other, slope = self.metric(moved, held, counted)
        backward = displacement_gradient(slope, held_gradient, held_matrix)
        # half the velocity moves either image
        return (value + other) / 2, np.float32(0.5) * (forward - backward)


def register_variational(
    fixed: Image,
    moving: Image,
    settings: DeformableSettings,
    affine: Affine,
    initial: Float32 | None = None,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    progress: Callable[[IterationRow], None] | None = None,
    drift: Float32 | None = None,
) -> tuple[Float32, list[IterationRow]]:
    """Displacement, or velocity where ``settings.stationary``, on the grid of `fixed`.

    With ``T = id + u`` or ``T = exp(v)``, ``moving(affine(T(x)))`` matches ``fixed(x)``.

    Parameters
    ----------
    fixed, moving : Image
        Intensities in about [0, 1], background zero.
    settings : DeformableSettings
        Of any model but ``greedy``.
    affine : Affine
        Fixed to moving world points; stays as it is.
    initial : float32 array, shape (X, Y, Z, 3), optional
        Displacement to start from, voxels of `fixed`.
    fixed_mask, moving_mask : Image, optional
        Only voxels inside both count.
    progress : callable, optional
    drift : float32 array, shape (X, Y, Z, 3), optional
        Displacement that every level takes out, in equal parts over its iterations, voxels of `fixed`.

    Returns
    -------
    field : float32 array, shape (X, Y, Z, 3)
        Voxels of `fixed`.
    rows : list of IterationRow

    Raises
    ------
    InputError
        If the model is ``symmetric`` and the affine has no square root.
    """
    symmetric = settings.model == "symmetric"
    frame = Frame(fixed.grid, identity(), affine)
    if symmetric:
        frame = middle_frame(fixed.grid, working_crop(moving, moving_mask), affine)
    into, out_of = frame.to_fixed.matrix, frame.to_fixed.inverse().matrix
    weight = weight_of(settings, frame.grid)
    rows: list[IterationRow] = []
    field: Float32 | None = None
    grid = frame.grid
    for number, (shrink, iterations) in enumerate(zip(settings.shrink, settings.iterations, strict=True)):
        if iterations == 0:
            continue
        factors = level_factors(frame.grid, shrink)
        target = factors * frame.grid.spacing
        finest = float(target[np.array(frame.grid.shape) > 1].min())
        old, grid = grid, frame.grid.shrink([float(f) for f in factors])
        if field is None:
            field = _start(initial, fixed.grid, grid, into, settings)
        else:
            field = _carried(field, old, grid, np.eye(4))
        part = None if drift is None else _carried(drift, fixed.grid, grid, into) / np.float32(iterations)
        here = level(fixed, target)
        stage = _Level(
            settings.stationary,
            grid,
            _side(fixed, fixed_mask, frame.to_fixed, finest) if symmetric else here,
            _side(moving, moving_mask, frame.to_moving, finest),
            np.ones(grid.shape, np.float32) if symmetric else level_weights(here, fixed_mask),
            deformable_metric(settings, grid.shape),
            regulariser_of(settings),
            weight,
        )

        def note(iteration: int, energy: Energy, number: int = number) -> None:
            total, data, value, _ = energy
            rows.append(IterationRow("deformable", number, iteration, total, data, weight, value))
            if progress is not None:
                progress(rows[-1])

        field = descend(
            stage.energy,
            field,
            iterations,
            settings.update_sigma_vox,
            settings.step_vox,
            settings.tolerance,
            part,
            note,
        )
    if field is None:
        return _start(initial, fixed.grid, fixed.grid, np.eye(4), settings), rows
    return _carried(field, grid, fixed.grid, out_of), rows


def _carried(field: Float32, old: Grid, new: Grid, between: Array) -> Float32:
    """A field in voxels of `old` as one in voxels of `new`; `between` maps world points of new to old."""
    return carry_field(field, old.inverse_affine @ between @ new.affine, new.shape)


def _start(
    initial: Float32 | None, old: Grid, new: Grid, between: Array, settings: DeformableSettings
) -> Float32:
    if initial is None:
        return np.zeros((*new.shape, 3), np.float32)
    field = _carried(initial, old, new, between)
    return logarithm(field) if settings.stationary else field
