"""Sums over a part of a cohort, and the averages made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy

from regcore.errors import InputError
from regcore.image import Image
from regcore.space import Grid
from regcore.transforms import Chain, Transform, peel, split

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PartialSum:
    """Everything that the average of a cohort needs to know about some of its members.

    Sums of sums are what a template is made of, so a gather reads one small file a batch and never
    an image a member.

    Parameters
    ----------
    grid : Grid
        Grid of the template.
    image, square, weight : float32 array, shape (X, Y, Z)
        Sums of ``w c I``, ``w c I**2`` and ``w c`` over members: weight w, coverage c, intensity I.
    displacement : float32 array, shape (X, Y, Z, 3), or None
        Sum of ``w u``, voxels of `grid`; None where no member has a displacement.
    log_stretch : array, shape (3, 3)
        Sum of ``w log P``, where ``R P`` is the linear part of a member's affine, R a rotation and P
        symmetric: what is left of the affine's logarithm without its rigid part.
    total : float
        Sum of ``w``.
    count : int
        Number of members.
    """

    grid: Grid
    image: Float32
    square: Float32
    weight: Float32
    displacement: Float32 | None
    log_stretch: Float64
    total: float
    count: int

    def add(self, other: PartialSum) -> PartialSum:
        """Sum of both; see `combine`, which is as exact for many."""
        return combine([self, other])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays to store in a file, for `from_arrays`."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "shape": np.array(self.grid.shape),
            "affine": np.array(self.grid.affine),
            "image": self.image,
            "square": self.square,
            "weight": self.weight,
            "log_stretch": self.log_stretch,
            "total": np.array(self.total),
            "count": np.array(self.count),
        }
        return arrays if self.displacement is None else arrays | {"displacement": self.displacement}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> PartialSum:
        """Partial sum stored by `to_arrays`."""
        x, y, z = (int(count) for count in arrays["shape"])
        return cls(
            Grid((x, y, z), arrays["affine"]),
            arrays["image"],
            arrays["square"],
            arrays["weight"],
            arrays.get("displacement"),
            np.asarray(arrays["log_stretch"], dtype=np.float64),
            float(arrays["total"]),
            int(arrays["count"]),
        )


def log_stretch(transform: Transform, grid: Grid) -> Float64:
    """Logarithm of the symmetric stretch P in the polar form ``R P`` of a transform's affine, shape (3, 3).

    Raises
    ------
    InputError
        If the affine mirrors.
    """
    linear = _affine_part(transform, grid)[:3, :3]
    if np.linalg.det(linear) <= 0:
        raise InputError("affine: expected one that keeps left and right, found a mirror image")
    _, singular, right = np.linalg.svd(linear)
    return np.asarray(right.T @ np.diag(np.log(singular)) @ right)


def _affine_part(transform: Transform, grid: Grid) -> Float64:
    outer, rest = peel(transform)
    has_affine = len(rest.transforms) < len(Chain((transform,)).transforms)
    return outer.matrix if has_affine or not rest.transforms else split(transform, grid)[0].matrix


def partial_sum(
    images: Sequence[Image],
    coverages: Sequence[Image | None] | None,
    transforms: Sequence[Transform],
    weights: Sequence[float] | None = None,
) -> PartialSum:
    """Sums over members whose images lie on the template's grid.

    Parameters
    ----------
    images : sequence of Image
        Images brought onto the template's grid.
    coverages : sequence of Image or None
        How much of each voxel its member covers, 0 to 1, on the same grid; None is everywhere.
    transforms : sequence of Transform
        World mm of the template to world mm of each member, ``affine(x + u(x))``.
    weights : sequence of float, optional
        One a member; 1 by default.

    Returns
    -------
    PartialSum

    Raises
    ------
    InputError
        If there is no member, the lengths differ, or a member lies on another grid.

    Examples
    --------
    >>> from regcore.transforms import identity
    >>> ones = Image(np.ones((2, 2, 2), np.float32), Grid((2, 2, 2), np.eye(4)))
    >>> partial_sum([ones, ones], None, [identity(), identity()]).count
    2
    """
    weights = [1.0] * len(images) if weights is None else weights
    coverages = [None] * len(images) if coverages is None else coverages
    if not images or not len(images) == len(transforms) == len(weights) == len(coverages):
        raise InputError(
            "partial sum: expected one coverage, transform and weight an image, found "
            f"{len(images)} images, {len(coverages)}, {len(transforms)} and {len(weights)}"
        )
    grid = images[0].grid
    sums = np.zeros((3, *grid.shape))
    field: Float64 | None = None
    stretch = np.zeros((3, 3))
    for image, covered, transform, weight in zip(images, coverages, transforms, weights, strict=True):
        for other in (image, covered):
            if other is not None and not other.grid.matches(grid):
                raise InputError(
                    f"partial sum: expected every image on the grid {grid.shape}, found {other.grid.shape}"
                )
        seen = weight * (np.ones(grid.shape) if covered is None else covered.data.astype(np.float64))
        sums[0] += seen * image.data
        sums[1] += seen * np.square(image.data, dtype=np.float64)
        sums[2] += seen
        stretch += weight * log_stretch(transform, grid)
        if peel(transform)[1].transforms:
            field = np.zeros((*grid.shape, 3)) if field is None else field
            field += weight * split(transform, grid)[1].field
    return PartialSum(
        grid,
        sums[0].astype(np.float32),
        sums[1].astype(np.float32),
        sums[2].astype(np.float32),
        None if field is None else field.astype(np.float32),
        stretch,
        float(sum(weights)),
        len(images),
    )


def combine(partials: Sequence[PartialSum]) -> PartialSum:
    """Sum of partial sums, in the order given and in double precision.

    Raises
    ------
    InputError
        If there is none, or they lie on different grids.
    """
    if not partials:
        raise InputError("partial sums: expected at least one, found none")
    grid = partials[0].grid
    for partial in partials:
        if not partial.grid.matches(grid):
            raise InputError(f"partial sums: expected the grid {grid.shape}, found {partial.grid.shape}")

    def total(arrays: Sequence[Float32]) -> Float32:
        accumulator = arrays[0].astype(np.float64)
        for array in arrays[1:]:
            accumulator += array
        return accumulator.astype(np.float32)

    fields = [partial.displacement for partial in partials if partial.displacement is not None]
    return PartialSum(
        grid,
        total([partial.image for partial in partials]),
        total([partial.square for partial in partials]),
        total([partial.weight for partial in partials]),
        total(fields) if fields else None,
        np.asarray(sum((partial.log_stretch for partial in partials), np.zeros((3, 3)))),
        float(sum(partial.total for partial in partials)),
        sum(partial.count for partial in partials),
    )


def average(partial: PartialSum) -> Image:
    """Mean image: every voxel divided by the weight of the members that cover it, 0 where none does."""
    mean = np.divide(
        partial.image, partial.weight, out=np.zeros(partial.grid.shape, np.float32), where=_covered(partial)
    )
    return Image(mean, partial.grid)


def deviation(partial: PartialSum) -> Image:
    """Standard deviation over the members at every voxel, float32."""
    covered = _covered(partial)
    weight = np.where(covered, partial.weight, 1.0)
    variance = partial.square / weight - (partial.image / weight) ** 2
    return Image(np.sqrt(np.where(covered, np.maximum(variance, 0.0), 0.0)).astype(np.float32), partial.grid)


def covered_share(partial: PartialSum) -> Image:
    """Share of the members' weight that covers a voxel, 0 to 1, float32."""
    return Image((partial.weight / np.float32(partial.total)).astype(np.float32), partial.grid)


def _covered(partial: PartialSum) -> npt.NDArray[np.bool_]:
    # a sliver of one member's coverage is no measurement
    return np.asarray(partial.weight > 1e-3 * partial.total / max(partial.count, 1))


def stack_average(
    images: Sequence[Image],
    coverages: Sequence[Image | None] | None = None,
    method: Literal["mean", "median", "trimmed_mean"] = "median",
    trim: float = 0.2,
) -> Image:
    """Average over images held in memory, robust to the odd one out.

    Parameters
    ----------
    images : sequence of Image
        Images on one grid.
    coverages : sequence of Image or None
        Voxels of each image that count (coverage of at least a half); None is everywhere.
    method : {"mean", "median", "trimmed_mean"}
        "trimmed_mean" leaves out the share `trim` at either end.
    trim : float
        Share left out at either end, 0 <= trim < 0.5.

    Raises
    ------
    InputError
        If there is no image, the grids differ, or `trim` or `method` is not allowed.

    Examples
    --------
    >>> grid = Grid((1, 1, 1), np.eye(4))
    >>> three = [Image(np.full((1, 1, 1), value, np.float32), grid) for value in (1, 2, 9)]
    >>> stack_average(three, method="median").data.item()
    2.0
    """
    if not images or any(not image.grid.matches(images[0].grid) for image in images):
        raise InputError("average: expected at least one image and one common grid, found none or several")
    if not 0.0 <= trim < 0.5:
        raise InputError(f"trim: expected at least 0 and below 0.5, found {trim:g}")
    if method not in ("mean", "median", "trimmed_mean"):
        raise InputError(f"average: expected mean, median or trimmed_mean, found {method!r}")
    grid = images[0].grid
    out = np.zeros(grid.shape, np.float32)
    for plane in range(grid.shape[0]):  # plane by plane: a stack of a whole cohort is sorted in little memory
        stack = np.stack([image.data[plane].astype(np.float32) for image in images])
        if coverages is not None:
            for values, covered in zip(stack, coverages, strict=True):
                if covered is not None:
                    values[covered.data[plane] < 0.5] = np.nan
        ordered = np.sort(stack, axis=0)  # missing values come last
        count = np.isfinite(ordered).sum(axis=0)
        if method == "mean":
            low, high = np.zeros_like(count), count
        elif method == "median":
            low, high = np.maximum(count - 1, 0) // 2, count // 2 + 1
        else:
            low = np.floor(trim * count).astype(count.dtype)
            high = count - low
        rank = np.arange(len(ordered))[:, None, None]
        kept = (rank >= low) & (rank < high) & (rank < count)
        number = kept.sum(axis=0)
        out[plane] = np.where(kept, ordered, 0).sum(axis=0, dtype=np.float64) / np.maximum(number, 1)
    return Image(out, grid)


def sharpen(image: Image, amount: float = 1.0, sigma_vox: float = 1.0) -> Image:
    """Unsharp mask that never leaves the range of a voxel's neighbourhood, so that edges do not ring.

    Parameters
    ----------
    image : Image
        Image to sharpen.
    amount : float
        Factor on the difference from the smoothed image; 0 changes nothing.
    sigma_vox : float
        Width of the smoothing, voxels.

    Returns
    -------
    Image
        float32.
    """
    data = np.asarray(image.data, dtype=np.float32)
    flat = [count == 1 for count in data.shape]
    smooth = scipy.ndimage.gaussian_filter(
        data, [0.0 if single else sigma_vox for single in flat], mode="nearest"
    )
    size = [1 if single else 3 for single in flat]
    low, high = scipy.ndimage.minimum_filter(data, size), scipy.ndimage.maximum_filter(data, size)
    return Image(np.clip(data + amount * (data - smooth), low, high).astype(np.float32), image.grid)
