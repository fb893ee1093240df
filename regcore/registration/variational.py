"""Registration that minimises ``D + weight * R``: elastic, by a stationary velocity, and symmetric.

``displacement`` reads the moving image at ``x + u(x)`` and regularises u (elastic matching; Modersitzki,
FAIR, 2009, doi:10.1137/1.9780898718843). ``velocity`` reads it at ``exp(v)(x)`` and regularises v; the
inverse is ``exp(-v)`` (Ashburner, 2007, doi:10.1016/j.neuroimage.2007.07.007). ``symmetric`` reads the moving
image at ``exp(v / 2)(x)`` and the fixed one at ``exp(-v / 2)(x)``, both in the middle between them, so that
swapping them gives the inverse (in the spirit of Avants et al., 2008, doi:10.1016/j.media.2007.06.004).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from regcore.image import Image
from regcore.kernels.exponential import exponential_and_adjoint, logarithm
from regcore.kernels.fields import carry_field, displacement_gradient
from regcore.kernels.layout import from_components
from regcore.kernels.sample import sample_linear, sample_linear_gradient
from regcore.landmarks import Landmarks
from regcore.registration.deformable import level_weights
from regcore.registration.descent import Energy, descend
from regcore.registration.landmark_term import LandmarkTerm
from regcore.registration.linear import IterationRow
from regcore.registration.middle import Frame, middle_frame
from regcore.registration.pyramid import finest_spacing, planned_levels, working_crop
from regcore.registration.regularisation import regulariser_of, weight_of
from regcore.registration.settings import DeformableSettings
from regcore.registration.similarity import Channel, Metric, at_level, similarity, with_measures
from regcore.space import Array, Grid
from regcore.transforms import Affine, identity

Float32 = npt.NDArray[np.float32]
FADING_VOX = 4


@dataclass(frozen=True, eq=False)
class _Side:
    """Images of all channels that are read through one field, and their mask."""

    images: list[Image]
    mask: Image | None
    to_image: Affine

    def read(self, channel: int, grid: Grid, field: Float32) -> tuple[Float32, Float32, Array]:
        """Image, its derivative per voxel of its own, and voxel of the grid to voxel of the image."""
        image = self.images[channel]
        matrix = image.grid.inverse_affine @ self.to_image.matrix @ grid.affine
        return *sample_linear_gradient(image.data, matrix, field), matrix

    def counted(self, weights: Float32, grid: Grid, field: Float32) -> Float32:
        """Weights of voxels by how much of them lies in the mask."""
        if self.mask is None:
            return weights
        matrix = self.mask.grid.inverse_affine @ self.to_image.matrix @ grid.affine
        return weights * sample_linear(self.mask.data, matrix, field)


def _side(images: list[Image], mask: Image | None, to_image: Affine) -> _Side:
    soft = None if mask is None else _fading(Image(mask.data.astype(np.float32), mask.grid), 0)
    return _Side([_fading(image, FADING_VOX) for image in images], soft, to_image)


def _fading(image: Image, width: int) -> Image:
    """An image with a border that falls to zero: a jump where a point leaves it would stop a descent."""
    solid = (np.array(image.grid.shape) > 1).astype(int)
    faded = np.pad(image.data, width * solid[:, None], mode="linear_ramp")
    # and a zero beyond: the outermost half voxel of an image has the slope before it, but does not change
    border = (width + 1) * solid
    grid = image.grid.crop([-int(b) for b in border], [int(n) for n in image.grid.shape + border])
    return Image(np.pad(faded, solid[:, None]), grid)


def _term_on_fixed(
    channels: list[tuple[Channel, Metric]],
    weights: Float32,
    moving: _Side,
    grid: Grid,
    stationary: bool,
    landmarks: LandmarkTerm | None,
    field: Float32,
) -> tuple[float, Float32]:
    """Data term of the moving images brought to the fixed ones, which lie on the grid, and of landmarks."""
    there, adjoint = exponential_and_adjoint(field) if stationary else (field, None)
    counted = moving.counted(weights, grid, there)
    total, gradient = 0.0, np.zeros_like(field)
    for number, (channel, metric) in enumerate(channels):
        warped, derivative, matrix = moving.read(number, grid, there)
        value, slope = metric(warped, counted)
        total += channel.weight * value
        gradient += np.float32(channel.weight) * displacement_gradient(slope, derivative, matrix)
    if landmarks is not None:
        total += landmarks.of_field(there, grid, moving.to_image.matrix, gradient)
    return total, gradient if adjoint is None else adjoint(gradient)


def _term_in_middle(
    settings: DeformableSettings,
    channels: list[Channel],
    fixed: _Side,
    moving: _Side,
    grid: Grid,
    landmarks: tuple[LandmarkTerm, LandmarkTerm] | None,
    velocity: Float32,
) -> tuple[float, Float32]:
    """Data term in the middle: the mean of both orders, so that neither side comes first.

    Landmarks are those of either side, in the middle, and where they belong on the other side.
    """
    half = np.float32(0.5) * velocity
    (there, adjoint), (back, back_adjoint) = exponential_and_adjoint(half), exponential_and_adjoint(-half)
    counted = fixed.counted(moving.counted(np.ones(grid.shape, np.float32), grid, there), grid, back)
    total, gradient, back_gradient = 0.0, np.zeros_like(velocity), np.zeros_like(velocity)
    for number, channel in enumerate(channels):
        ahead, derivative, matrix = moving.read(number, grid, there)
        behind, back_derivative, back_matrix = fixed.read(number, grid, back)
        value, slope = similarity(behind, settings, channel.metric)(ahead, counted)
        back_value, back_slope = similarity(ahead, settings, channel.metric)(behind, counted)
        total += channel.weight * (value + back_value) / 2
        share = np.float32(channel.weight)
        # either order has the same value, so that the derivative by either image is that of one order
        gradient += share * displacement_gradient(slope, derivative, matrix)
        back_gradient += share * displacement_gradient(back_slope, back_derivative, back_matrix)
    # half the velocity moves either image, against one another
    slope = np.float32(0.5) * (adjoint(gradient) - back_adjoint(back_gradient))
    for term, side, sign in zip(landmarks or (), (moving, fixed), (1, -1), strict=False):
        # a landmark goes all the way to the other side
        there, adjoint = exponential_and_adjoint(np.float32(sign) * velocity)
        by_field = np.zeros_like(velocity)
        total += term.of_field(there, grid, side.to_image.matrix, by_field) / 2
        slope += np.float32(sign / 2) * adjoint(by_field)
    return total, slope


def _in_middle(landmarks: LandmarkTerm, frame: Frame) -> tuple[LandmarkTerm, LandmarkTerm]:
    """Terms from the middle to the moving and to the fixed landmarks."""
    start, end = (
        Landmarks(to_image.inverse()(side.points), side.names)
        for to_image, side in ((frame.to_fixed, landmarks.fixed), (frame.to_moving, landmarks.moving))
    )
    return (
        LandmarkTerm(start, landmarks.moving, landmarks.weight),
        LandmarkTerm(end, landmarks.fixed, landmarks.weight),
    )


def energy_on(
    frame: Frame,
    settings: DeformableSettings,
    channels: list[tuple[Channel, Metric]],
    weight: float,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    landmarks: LandmarkTerm | None = None,
) -> Callable[[Float32], Energy]:
    """The energy of a displacement, or velocity where ``settings.stationary``, on the grid of a frame.

    Parameters
    ----------
    frame : Frame
    settings : DeformableSettings
        Of any model but ``greedy``.
    channels : list of (Channel, Metric)
        As `with_measures` gives them. Unless the model is ``symmetric``, the fixed images lie on the grid.
    weight : float
        Of the regulariser.
    fixed_mask, moving_mask : Image, optional
        Only voxels inside both count.
    landmarks : LandmarkTerm, optional
        Counted with the images.

    Returns
    -------
    callable
        Takes a float32 array of shape (X, Y, Z, 3), voxels of the grid. The gradient is the derivative of
        the energy, but for how the masks move with the field.
    """
    grid, regulariser = frame.grid, regulariser_of(settings)
    moving = _side([channel.moving for channel, _ in channels], moving_mask, frame.to_moving)
    if settings.model == "symmetric":
        pairs = [channel for channel, _ in channels]
        fixed = _side([channel.fixed for channel in pairs], fixed_mask, frame.to_fixed)
        either = None if landmarks is None else _in_middle(landmarks, frame)
        data_term = partial(_term_in_middle, settings, pairs, fixed, moving, grid, either)
    else:
        weights = level_weights(grid, fixed_mask)
        data_term = partial(_term_on_fixed, channels, weights, moving, grid, settings.stationary, landmarks)
    flat = [axis for axis, n in enumerate(grid.shape) if n == 1]

    def energy(field: Float32) -> Energy:
        data, gradient = data_term(field)
        value, slope = regulariser(field, grid.spacing)
        gradient += np.float32(weight) * slope
        gradient[..., flat] = 0
        return Energy(data + weight * value, data, value, gradient)

    return energy


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
    channels: Sequence[Channel] = (),
    landmarks: LandmarkTerm | None = None,
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
    channels : sequence of Channel
        Further images to match, with fixed images on the grid of `fixed`.
    landmarks : LandmarkTerm, optional
        Counted with the images.

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
    whole, into, out_of = frame.grid, frame.to_fixed.matrix, frame.to_fixed.inverse().matrix
    weight = weight_of(settings, whole)
    rows: list[IterationRow] = []
    field = from_components(np.zeros((3, *whole.shape), np.float32))
    if initial is not None:
        field = _carried(initial, fixed.grid, whole, into)
        field = logarithm(field) if settings.stationary else field
    for plan in planned_levels(whole, settings.levels(finest_spacing(whole))):
        # in the middle, the fixed image has axes of its own too
        fixed_mm = plan.moving_mm if symmetric else plan.fixed_mm
        pairs = with_measures(
            at_level([Channel(fixed, moving), *channels], fixed_mm, plan.moving_mm), settings
        )
        grid = whole.shrink([float(f) for f in plan.factors]) if symmetric else pairs[0][0].fixed.grid
        field, frame = _carried(field, frame.grid, grid, np.eye(4)), replace(frame, grid=grid)
        part = None
        if drift is not None:
            part = _carried(drift, fixed.grid, grid, into) / np.float32(plan.iterations)

        def note(iteration: int, energy: Energy, number: int = plan.number) -> None:
            total, data, value, _ = energy
            rows.append(IterationRow("deformable", number, iteration, total, data, weight, value))
            if progress is not None:
                progress(rows[-1])

        field = descend(
            energy_on(frame, settings, pairs, weight, fixed_mask, moving_mask, landmarks),
            field,
            plan.iterations,
            settings.update_sigma_vox,
            settings.step_vox,
            settings.tolerance,
            part,
            note,
        )
    return _carried(field, frame.grid, fixed.grid, out_of), rows


def _carried(field: Float32, old: Grid, new: Grid, between: Array) -> Float32:
    """A field in voxels of `old` as one in voxels of `new`; `between` maps world points of new to old."""
    return carry_field(field, old.inverse_affine @ between @ new.affine, new.shape)
