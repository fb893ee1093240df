"""Descriptors: what the image looks like around a keypoint, as a vector to compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regcore.features.keypoints import Keypoints, detect
from regcore.features.scalespace import Octave, scale_space
from regcore.features.settings import KeypointSettings
from regcore.image import Image
from regcore.kernels.keypoints import gradient_histograms
from regcore.space import Array, Grid

Float32 = npt.NDArray[np.float32]

# no single bin may rule the comparison (Lowe 2004, section 6.1)
LARGEST_SHARE = 0.2
FRAME_SIGMA = 1.5
LARGEST_EIGENVALUE_RATIO = 0.9
LEAST_COSINE = 0.4


@dataclass(frozen=True, eq=False)
class Features:
    """Keypoints with their descriptors.

    Parameters
    ----------
    keypoints : Keypoints
    descriptors : float32 array, shape (N, D)
        Of unit length.
    """

    keypoints: Keypoints
    descriptors: Float32

    def __len__(self) -> int:
        """Number of features."""
        return len(self.keypoints)


def extract_features(
    image: Image, settings: KeypointSettings | None = None, mask: Image | None = None
) -> Features:
    """Keypoints of an image and their descriptors.

    Parameters
    ----------
    image : Image
        3D, or 2D with a singleton axis; any intensity scale.
    settings : KeypointSettings, optional
    mask : Image, optional
        On the grid of `image`; only keypoints inside count.

    Returns
    -------
    Features

    Raises
    ------
    InputError
        If the image is constant, not finite or too small, or the mask is empty or on another grid.

    Examples
    --------
    >>> x = np.mgrid[:32, :32, :32].astype(np.float32)
    >>> blob = np.exp(-(((x - 15.25) / 2.5) ** 2).sum(axis=0) / 2).astype(np.float32)
    >>> features = extract_features(Image(blob, Grid(blob.shape, np.eye(4))))
    >>> features.keypoints.points[0].round(1), features.descriptors.shape[1]
    (array([15.3, 15.3, 15.3]), 96)
    """
    settings = settings or KeypointSettings()
    octaves = scale_space(image, settings, mask)
    return describe(octaves, detect(octaves, settings, mask), settings)


def describe(octaves: list[Octave], keypoints: Keypoints, settings: KeypointSettings) -> Features:
    """Histograms of gradients in a grid of cells around every keypoint, of the size of its scale.

    A sample's gradient counts for the directions it points along (12 corners of an icosahedron, in 2D eight
    of the circle) and for the cells around it, by linear weights under a Gaussian window. The vector is
    brought to unit length, its largest entries cut, and to unit length again: adding to the intensities or
    multiplying them by a positive number changes nothing, and inverting them does.

    Parameters
    ----------
    octaves : list of Octave
        From `scale_space`.
    keypoints : Keypoints
        Any points and scales within the image.
    settings : KeypointSettings
        ``cells``, ``cell_sigma`` and ``rotation``.

    Returns
    -------
    Features
        In the order of `keypoints`; without those that have no clear direction if ``rotation`` is set.

    References
    ----------
    Lowe (2004), doi:10.1023/B:VISI.0000029664.99615.94, for the histograms; Rister et al. (2017),
    doi:10.1109/TIP.2017.2722689, for three dimensions and the local axes.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((24, 24, 24), np.float32)
    >>> octaves = scale_space(Image(noise, Grid(noise.shape, np.eye(4))), KeypointSettings())
    >>> middle = Keypoints(np.full((1, 3), 12.0), np.array([2.0]), np.zeros(1))
    >>> vector = describe(octaves, middle, KeypointSettings()).descriptors[0]
    >>> vector.shape, round(float(np.linalg.norm(vector)), 3)
    ((96,), 1.0)
    """
    basis = plane_basis(octaves[0].grid)
    offsets, cells, weights = _pattern(basis.shape[1], settings)
    directions = _directions(basis.shape[1])
    shape = (len(keypoints), settings.cells ** basis.shape[1], len(directions))
    descriptors = np.zeros(shape, np.float32)
    clear = np.ones(len(keypoints), bool)
    octave_of, scale_of = _nearest_image(octaves, keypoints, settings)
    for number, octave in enumerate(octaves):
        for scale in range(len(octave.images)):
            here = np.flatnonzero((octave_of == number) & (scale_of == scale))
            if here.size == 0:
                continue
            chosen = keypoints.take(here)
            gradient = _gradient(octave.images[scale])
            frames = np.broadcast_to(basis, (here.size, *basis.shape))
            if settings.rotation:
                frames, clear[here] = _local_frames(gradient, octave.grid, chosen, basis)
            descriptors[here] = gradient_histograms(
                gradient,
                octave.grid.to_voxel(chosen.points),
                _steps(octave.grid, frames, chosen.sigmas_mm),
                offsets,
                cells,
                weights,
                directions,
            )
    flat = _normalised(descriptors.reshape(shape[0], shape[1] * shape[2]))
    flat = _normalised(np.minimum(flat, LARGEST_SHARE))
    clear &= flat.any(axis=1)
    return Features(keypoints.take(clear), flat[clear])


def plane_basis(grid: Grid) -> Array:
    """Axes that a descriptor lies along: those of the world, in 2D the two nearest to them in the plane.

    Returns
    -------
    array, shape (3, D)
        Unit columns, D = 3, or 2 for a 2D grid.

    Examples
    --------
    >>> plane_basis(Grid((8, 1, 8), np.diag([2.0, 1.0, 3.0, 1.0])))
    array([[1., 0.],
           [0., 0.],
           [0., 1.]])
    """
    if not grid.is_2d:
        return np.eye(3)
    flat = int(np.argmin(grid.shape))
    along = [grid.affine[:3, axis] for axis in range(3) if axis != flat]
    normal = np.cross(along[0], along[1])
    normal /= np.linalg.norm(normal)
    axes = [axis for axis in np.eye(3) if axis @ np.eye(3)[np.argmax(np.abs(normal))] == 0]
    first = axes[0] - normal * (normal @ axes[0])
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    # adding 0 turns -0.0 into 0.0
    return np.stack([first, second * np.sign(second @ axes[1])], axis=1) + 0.0


def _nearest_image(
    octaves: list[Octave], keypoints: Keypoints, settings: KeypointSettings
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Octave and image whose blur is nearest to the scale of each keypoint."""
    steps = np.rint(settings.scales * np.log2(keypoints.sigmas_mm / octaves[0].sigmas_mm[0])).astype(np.intp)
    octave = np.clip((steps - 1) // settings.scales, 0, len(octaves) - 1)
    return octave, np.clip(steps - octave * settings.scales, 0, settings.scales + 2)


def _gradient(image: Float32) -> Float32:
    """Central differences per voxel, shape (X, Y, Z, 3); zero along a singleton axis."""
    gradient = np.zeros((*image.shape, 3), np.float32)
    for axis in np.flatnonzero(np.array(image.shape) > 1):
        gradient[..., axis] = np.gradient(image, axis=axis)
    return gradient


def _steps(grid: Grid, frames: Array, sigmas_mm: Array) -> Array:
    """Voxels that one standard deviation along each axis of a frame spans, shape (N, 3, D)."""
    turn = grid.inverse_affine[:3, :3]
    return np.asarray(np.einsum("ij,njd,n->nid", turn, frames, sigmas_mm))


def _pattern(axes: int, settings: KeypointSettings) -> tuple[Array, npt.NDArray[np.int32], Array]:
    """Samples (P, D) in standard deviations, the cells (P, 2^D) that each counts for, and the weights."""
    count, size = settings.cells, settings.cell_sigma
    per_cell = max(round(size), 2)
    reach = (count + 1) * per_cell // 2
    line = np.arange(-reach, reach + 1) / per_cell
    samples = np.stack(np.meshgrid(*[line] * axes, indexing="ij"), axis=-1).reshape(-1, axes)
    place = samples + (count - 1) / 2
    low = np.floor(place).astype(np.intp)
    corners = np.stack(np.meshgrid(*[[0, 1]] * axes, indexing="ij"), axis=-1).reshape(-1, axes)
    index = low[:, None] + corners
    weights = (1 - np.abs(place[:, None] - index)).prod(axis=-1)
    weights *= ((index >= 0) & (index < count)).all(axis=-1)
    weights *= np.exp(-0.5 * ((2 * samples / count) ** 2).sum(axis=-1))[:, None]
    cells = (np.clip(index, 0, count - 1) * count ** np.arange(axes)).sum(axis=-1)
    used = weights.any(axis=1)
    return samples[used] * size, cells[used].astype(np.int32), weights[used]


def _directions(axes: int) -> Array:
    """Unit vectors spread evenly: eight of the circle, or the twelve corners of an icosahedron."""
    if axes == 2:
        angles = np.arange(8) * np.pi / 4
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    golden = (1 + np.sqrt(5)) / 2
    corners = [[0.0, a, b * golden] for a in (1, -1) for b in (1, -1)]
    return np.asarray([np.roll(c, k) for k in range(3) for c in corners] / np.sqrt(1 + golden**2))


def _normalised(vectors: Float32) -> Float32:
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def _local_frames(
    gradient: Float32, grid: Grid, keypoints: Keypoints, basis: Array
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Axes of the gradients around each keypoint (N, 3, D), and which of them are clear."""
    line = np.arange(-4, 5, dtype=np.float64)
    axes = basis.shape[1]
    offsets = np.stack(np.meshgrid(*[line] * axes, indexing="ij"), axis=-1).reshape(-1, axes)
    offsets = offsets[(offsets**2).sum(axis=1) <= 16]
    weights = np.exp(-0.5 * (offsets**2).sum(axis=1) / FRAME_SIGMA**2)
    steps = _steps(grid, np.broadcast_to(basis, (len(keypoints), *basis.shape)), keypoints.sigmas_mm)
    at = grid.to_voxel(keypoints.points)[:, None] + np.einsum("nij,pj->npi", steps, offsets)
    edge = np.array(grid.shape) - 1
    index = np.clip(np.rint(at).astype(np.intp), 0, edge)
    local = gradient[index[..., 0], index[..., 1], index[..., 2]] @ (grid.inverse_affine[:3, :3] @ basis)
    tensor = np.einsum("p,npi,npj->nij", weights, local, local)
    mean = np.einsum("p,npi->ni", weights, local)
    values, vectors = np.linalg.eigh(tensor)
    values, vectors = values[:, ::-1], vectors[:, :, ::-1].copy()
    length = np.maximum(np.linalg.norm(mean, axis=1), 1e-30)
    cosines = np.einsum("nia,ni->na", vectors, mean) / length[:, None]
    # all axes but the last point along the mean gradient; the last one keeps the frame right-handed
    signs = np.where(cosines < 0, -1.0, 1.0)
    vectors *= signs[:, None]
    vectors[:, :, -1] *= np.sign(np.linalg.det(vectors))[:, None]
    distinct = values[:, 1:] <= LARGEST_EIGENVALUE_RATIO * values[:, :-1]
    clear = distinct.all(axis=1) & (np.abs(cosines[:, :-1]) >= LEAST_COSINE).all(axis=1)
    return np.einsum("ij,njk->nik", basis, vectors), clear
