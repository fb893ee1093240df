"""Keypoints: blobs that stand out among their neighbours in space and scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regcore.features.scalespace import Octave
from regcore.features.settings import KeypointSettings
from regcore.image import Image
from regcore.kernels.keypoints import extrema
from regcore.space import Array

REFINEMENTS = 5
FURTHEST = 0.6
NEXT_SCALE = np.array([1, 0, 0, 0])


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Points with a size.

    Parameters
    ----------
    points : array, shape (N, 3)
        World RAS+ mm.
    sigmas_mm : array, shape (N,)
        Scale: standard deviation of the Gaussian at which the blob stands out most, mm.
    responses : array, shape (N,)
        Difference of Gaussians there, in units of the image's intensity range: negative for bright blobs.
    """

    points: Array
    sigmas_mm: Array
    responses: Array

    def __len__(self) -> int:
        """Number of keypoints."""
        return len(self.points)

    def take(self, indices: npt.NDArray[np.generic]) -> Keypoints:
        """Some of the keypoints, in the order asked for."""
        return Keypoints(self.points[indices], self.sigmas_mm[indices], self.responses[indices])


def detect(octaves: list[Octave], settings: KeypointSettings, mask: Image | None = None) -> Keypoints:
    """Extrema of the difference of Gaussians in space and scale, strongest first.

    Each is refined to a fraction of a voxel and of a scale by the quadratic through its neighbours. Weak
    ones go, and those with very unequal principal curvatures: edges and tubes, along which the place is not
    defined.

    Parameters
    ----------
    octaves : list of Octave
        From `scale_space`.
    settings : KeypointSettings
    mask : Image, optional
        Keypoints outside are dropped.

    Returns
    -------
    Keypoints

    References
    ----------
    Lowe (2004), doi:10.1023/B:VISI.0000029664.99615.94; in three dimensions Rister et al. (2017), "Volumetric
    image registration from invariant keypoints", IEEE TIP 26(10), doi:10.1109/TIP.2017.2722689.

    Examples
    --------
    >>> from regcore.features.scalespace import scale_space
    >>> from regcore.space import Grid
    >>> x = np.mgrid[:32, :32, :32].astype(np.float32)
    >>> blob = np.exp(-(((x - 15.25) / 2.5) ** 2).sum(axis=0) / 2).astype(np.float32)
    >>> octaves = scale_space(Image(blob, Grid(blob.shape, np.eye(4))), KeypointSettings())
    >>> detect(octaves, KeypointSettings()).points[0].round(1)
    array([15.3, 15.3, 15.3])
    """
    found = [_in_octave(octave, settings) for octave in octaves]
    points, sigmas, responses = (np.concatenate(parts) for parts in zip(*found, strict=True))
    keypoints = Keypoints(points, sigmas, responses)
    if mask is not None and len(keypoints):
        keypoints = keypoints.take(_inside(mask, keypoints.points))
    # ties, and blobs found in two octaves, keep the order of the octaves
    return keypoints.take(np.argsort(-np.abs(keypoints.responses), kind="stable")[: settings.most])


def _inside(mask: Image, points: Array) -> npt.NDArray[np.bool_]:
    """Which points lie in a voxel of a mask."""
    at = np.rint(mask.grid.to_voxel(points)).astype(np.intp)
    on_grid = ((at >= 0) & (at < mask.grid.shape)).all(axis=1)
    at = np.clip(at, 0, np.array(mask.grid.shape) - 1)
    return np.asarray(on_grid & (mask.data[tuple(at.T)] != 0))


def _in_octave(octave: Octave, settings: KeypointSettings) -> tuple[Array, Array, Array]:
    """Points, scales and responses of the keypoints of one octave."""
    images = octave.images
    below, here, start = images[1] - images[0], images[2] - images[1], []
    for k in range(1, len(images) - 2):
        above = images[k + 2] - images[k + 1]
        found = np.argwhere(extrema(below, here, above, 0.5 * settings.contrast))
        start.append(np.insert(found, 0, k, axis=1))
        below, here = here, above
    at = np.concatenate(start)
    axes = np.array([0, *(1 + np.flatnonzero(np.array(octave.grid.shape) > 1))])
    last = np.array([len(images) - 1, *octave.grid.shape]) - 2
    for remaining in reversed(range(REFINEMENTS + 1)):
        gradient, curvature = _derivatives(images, at, axes)
        # a flat direction has no extremum to go to: the pseudo-inverse stays
        offset = -np.einsum("nij,nj->ni", np.linalg.pinv(curvature, hermitian=True), gradient)
        # more than half a voxel, or what lies between two would wander to and fro
        step = np.where(np.abs(offset) > FURTHEST, np.sign(offset), 0).astype(np.intp)
        if remaining == 0 or not step.any():
            break
        at[:, axes] = np.clip(at[:, axes] + step, 1, last[axes])
    response = _difference(images, at) + 0.5 * np.einsum("ni,ni->n", gradient, offset)
    bend = np.linalg.eigvalsh(curvature[:, 1:, 1:]) * -np.sign(response)[:, None]
    kept = (
        (np.abs(offset) <= FURTHEST).all(axis=1)
        & (np.abs(response) >= settings.contrast)
        & (bend[:, 0] > 0)
        & (bend[:, -1] <= settings.edge_ratio * bend[:, 0])
    )
    # two candidates may have walked to one place
    unique = np.unique(np.where(kept[:, None], at, -1), axis=0, return_index=True)[1]
    kept &= np.isin(np.arange(len(at)), unique)
    place = at[kept].astype(np.float64)
    place[:, axes] += offset[kept]
    sigmas = octave.sigmas_mm[0] * 2.0 ** (place[:, 0] / settings.scales)
    return octave.grid.to_world(place[:, 1:]), sigmas, response[kept]


def _difference(images: npt.NDArray[np.float32], at: npt.NDArray[np.intp]) -> Array:
    """Difference of Gaussians at (scale, x, y, z): the next image less this one."""
    return np.asarray(images[tuple((at + NEXT_SCALE).T)].astype(np.float64) - images[tuple(at.T)])


def _derivatives(
    images: npt.NDArray[np.float32], at: npt.NDArray[np.intp], axes: npt.NDArray[np.intp]
) -> tuple[Array, Array]:
    """Gradient (N, D) and Hessian (N, D, D) of the difference of Gaussians, by central differences."""
    unit = np.eye(images.ndim, dtype=np.intp)[axes]

    def read(*steps: npt.NDArray[np.intp]) -> Array:
        return _difference(images, at + sum(steps))

    count = len(axes)
    gradient, hessian = np.empty((len(at), count)), np.empty((len(at), count, count))
    middle = read()
    for a in range(count):
        up, down = read(unit[a]), read(-unit[a])
        gradient[:, a] = (up - down) / 2
        hessian[:, a, a] = up + down - 2 * middle
        for b in range(a):
            mixed = read(unit[a], unit[b]) + read(-unit[a], -unit[b])
            mixed -= read(unit[a], -unit[b]) + read(-unit[a], unit[b])
            hessian[:, a, b] = hessian[:, b, a] = mixed / 4
    return gradient, hessian
