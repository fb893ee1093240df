"""Register one image to another: linear stages, then the diffeomorphic one, then the checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.image import Image
from regcore.kernels.exponential import exponential
from regcore.kernels.invert import invert
from regcore.kernels.sample import sample_linear
from regcore.metrics import ncc
from regcore.registration.checks import check_images, check_overlap, checked_channel
from regcore.registration.deformable import onto_grid, register_deformable
from regcore.registration.folds import consistency, make_diffeomorphic
from regcore.registration.histograms import match_histograms
from regcore.registration.labels import foreground_channel, label_channels
from regcore.registration.landmark_term import LandmarkTerm
from regcore.registration.linear import IterationRow, initial_affine
from regcore.registration.pyramid import working_crop
from regcore.registration.settings import RegistrationSettings
from regcore.registration.similarity import Channel, unit_range
from regcore.registration.stages import register_stages
from regcore.registration.variational import register_variational
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, Transform, Velocity, split

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Registration:
    """Result of a registration: ``T = affine o (id + displacement)`` and its inverse.

    Parameters
    ----------
    affine : Affine
        Fixed to moving world points.
    displacement, inverse : Displacement or None
        The deformable part and its inverse, both on the grid of the fixed image.
    iterations : list of IterationRow
    seconds : float
        Wall time.
    quality : dict
        similarity_before, similarity_after (correlation inside the fixed mask or image), folded_voxels,
        minimum_jacobian, inverse_consistency_mean_vox, inverse_consistency_max_vox, linear_retries (how many
        linear stages gave an implausible answer), linear_retry_reasons (a line for each of these).
    velocity : Velocity or None
        What `displacement` is the flow of, for the deformable models that find a stationary velocity.
    """

    affine: Affine
    displacement: Displacement | None
    inverse: Displacement | None
    iterations: list[IterationRow]
    seconds: float
    quality: dict[str, Any]
    velocity: Velocity | None = None

    @property
    def forward(self) -> Chain:
        """Fixed to moving world points: what warps the moving image onto the fixed one."""
        return Chain((self.affine,) if self.displacement is None else (self.affine, self.displacement))

    @property
    def backward(self) -> Chain:
        """Moving to fixed world points: what warps the fixed image onto the moving one."""
        back = self.affine.inverse()
        return Chain((back,) if self.inverse is None else (self.inverse, back))


def _similarity(
    fixed: Image, moving: Image, affine: Affine, field: Float32 | None, mask: Image | None
) -> float:
    matrix = moving.grid.inverse_affine @ affine.matrix @ fixed.grid.affine
    warped = sample_linear(moving.data, matrix, field, shape=fixed.grid.shape)
    weights = None if mask is None else mask.data.astype(np.float32)
    return 1.0 - ncc.value(fixed.data, warped, weights)


def register(
    fixed: Image,
    moving: Image,
    settings: RegistrationSettings,
    *,
    initial: Transform | None = None,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    progress: Callable[[IterationRow], None] | None = None,
    drift: Float32 | None = None,
    channels: Sequence[Channel | tuple[Image, Image, float]] = (),
    landmarks: LandmarkTerm | None = None,
) -> Registration:
    """Register `moving` to `fixed`.

    Parameters
    ----------
    fixed, moving : Image
        Any intensity scale; the background is the darkest. Label maps where `settings` say so.
    settings : RegistrationSettings
    initial : Transform, optional
        Fixed to moving world points to start from; split into an affine and a displacement.
    fixed_mask, moving_mask : Image, optional
        On the grid of their image; only voxels inside both count.
    progress : callable, optional
        Called with every `IterationRow`.
    drift : float32 array, shape (X, Y, Z, 3), optional
        What the deformable stage takes out of its steps, voxels of `fixed` (see `groupwise.drift`).
    channels : sequence of Channel or (Image, Image, float), optional
        Further pairs to match under the same transform: a fixed image on the grid of `fixed`, a moving image
        that lies where `moving` does, on any grid, a weight, and if need be a measure of its own. What is
        minimised is the measure of `fixed` and `moving` plus the weighted measures of these; the masks hold
        for all. `label_channels` makes channels of label maps.
    landmarks : LandmarkTerm, optional
        Landmarks to match as well, in every stage but the search for a start.

    Returns
    -------
    Registration

    Raises
    ------
    InputError
        If the images cannot be registered: other dimensions, constant, not finite, an empty mask, a channel
        on another grid, no overlap in the world once the start is applied, a landmark outside its image.

    Examples
    --------
    >>> x = np.mgrid[:24, :24, :24].astype(np.float32)
    >>> def blob(centre):
    ...     return Image(np.exp(-((x - centre) ** 2).sum(axis=0) / 40), Grid((24, 24, 24), np.eye(4)))
    >>> settings = RegistrationSettings.from_dict({"linear": [{"model": "translation"}], "deformable": None})
    >>> result = register(blob(11), blob(13), settings)
    >>> result.forward([11.0, 11.0, 11.0]).round(1)
    array([13., 13., 13.])
    """
    started = time.perf_counter()
    check_images(fixed, moving, fixed_mask, moving_mask)
    if landmarks is not None:
        landmarks.check_inside(fixed.grid, moving.grid)
    if settings.labels:
        channels = [*channels, *label_channels(fixed, moving)]
        fixed, moving, *_ = foreground_channel(fixed, moving)
    fixed_full = unit_range(fixed, fixed_mask)
    moving_unit = unit_range(moving, moving_mask)
    if settings.match_histograms:
        moving_unit = match_histograms(moving_unit, fixed_full, moving_mask, fixed_mask)
    if settings.outside == "ignored" and moving_mask is None:
        moving_mask = Image(np.ones(moving.grid.shape, np.uint8), moving.grid)
    more_channels = [
        checked_channel(f"channel {number}", Channel(*pair), fixed.grid, fixed_mask)
        for number, pair in enumerate(channels, 1)
    ]
    rows: list[IterationRow] = []
    start_field: Float32 | None = None
    if initial is None:
        how = settings.linear[0].initialisation if settings.linear else "identity"
        affine = initial_affine(fixed_full, moving_unit, how)
    else:
        affine, part = split(initial, fixed.grid)
        start_field = part.field if part.field.any() else None
    check_overlap(fixed.grid, moving.grid, affine, fixed_mask, moving_mask)
    before = _similarity(fixed_full, moving_unit, affine, start_field, fixed_mask)
    affine, more, retries = register_stages(
        fixed_full,
        moving_unit,
        settings.linear,
        affine,
        fixed_mask,
        moving_mask,
        progress,
        more_channels,
        given=initial is not None,
        landmarks=landmarks,
    )
    rows += more
    displacement = inverse = velocity = None
    quality: dict[str, Any] = {
        "similarity_before": before,
        "linear_retries": len(retries),
        "linear_retry_reasons": retries,
    }
    field = start_field
    if settings.deformable is not None or start_field is not None:
        field = start_field
        if settings.deformable is not None:
            crop = working_crop(fixed_full, fixed_mask)
            fixed_part = _on_part(fixed_full, crop)
            mask_part = None if fixed_mask is None else _on_part(fixed_mask, crop)
            begin = None if start_field is None else onto_grid(start_field, fixed.grid, crop)
            greedy = settings.deformable.model == "greedy"
            field, more = (register_deformable if greedy else register_variational)(
                fixed_part,
                moving_unit,
                settings.deformable,
                affine,
                begin,
                mask_part,
                moving_mask,
                progress,
                None if drift is None else onto_grid(drift, fixed.grid, crop),
                [channel._replace(fixed=_on_part(channel.fixed, crop)) for channel in more_channels],
                landmarks,
            )
            field = onto_grid(field, crop, fixed.grid)
            rows += more
            if settings.deformable.stationary:
                velocity = Velocity(field, fixed.grid)
                field = velocity.displacement.field
        assert field is not None
        own = velocity is None and field is not start_field
        field, determinant = make_diffeomorphic(field, overwrite=own)
        back = invert(field) if velocity is None else exponential(-velocity.field)
        back, back_determinant = make_diffeomorphic(back, overwrite=True)
        quality |= consistency(field, back, determinant, back_determinant)
        displacement, inverse = Displacement(field, fixed.grid), Displacement(back, fixed.grid)
    else:
        quality |= {
            "folded_voxels": 0,
            "minimum_jacobian": 1.0,
            "inverse_consistency_mean_vox": 0.0,
            "inverse_consistency_max_vox": 0.0,
        }
    quality["similarity_after"] = _similarity(fixed_full, moving_unit, affine, field, fixed_mask)
    return Registration(affine, displacement, inverse, rows, time.perf_counter() - started, quality, velocity)


def _on_part(image: Image, part: Grid) -> Image:
    """The voxels of an image that lie on `part`, a crop of its grid."""
    lower = np.rint(image.grid.to_voxel(part.to_world([0, 0, 0]))).astype(int)
    box = tuple(slice(int(a), int(a) + n) for a, n in zip(lower, part.shape, strict=True))
    return Image(image.data[box], part)
