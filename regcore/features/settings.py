"""Settings of keypoints, their matches and the robust fit: frozen values that refuse what cannot work."""

from __future__ import annotations

from dataclasses import dataclass

from regcore.registration.settings import _number


@dataclass(frozen=True)
class KeypointSettings:
    """How keypoints are found and described.

    Parameters
    ----------
    voxel_mm : float
        Size of the cubic voxels that the image is brought to first; 0 for the geometric mean of its own.
        Smaller ones give more keypoints.
    sigma_vox : float
        Standard deviation of the first scale of an octave, in voxels of that octave.
    scales : int
        Scales that an octave is searched at; more give more keypoints.
    contrast : float
        Smallest response of a keypoint, as a share of the intensity range of the image (or mask).
    edge_ratio : float
        Largest ratio of the principal curvatures of a keypoint; more is an edge or a tube.
    most : int
        Only so many keypoints of strongest response are kept.
    cells : int
        Cells of the descriptor along every axis.
    cell_sigma : float
        Size of a cell in standard deviations of the keypoint's scale.
    rotation : bool
        False: the descriptor lies along the axes of the world, and matches while the images are turned
        against each other by less than about 20 degrees. True: it lies along the gradients around its
        keypoint, and matches whatever the turn; keypoints without a clear direction are dropped, and fewer
        matches are right.
    """

    voxel_mm: float = 0.0
    sigma_vox: float = 1.0
    scales: int = 5
    contrast: float = 0.003
    edge_ratio: float = 10.0
    most: int = 5000
    cells: int = 2
    cell_sigma: float = 5.0
    rotation: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _number("keypoints.voxel_mm", self.voxel_mm, 0, 1e6)
        _number("keypoints.sigma_vox", self.sigma_vox, 0.6, 8)
        _number("keypoints.scales", self.scales, 1, 16, whole=True)
        _number("keypoints.contrast", self.contrast, 0, 1)
        _number("keypoints.edge_ratio", self.edge_ratio, 1, 1e6)
        _number("keypoints.most", self.most, 1, 1_000_000, whole=True)
        _number("keypoints.cells", self.cells, 1, 16, whole=True)
        _number("keypoints.cell_sigma", self.cell_sigma, 0.5, 16)


@dataclass(frozen=True)
class MatchSettings:
    """Which keypoints of two images are taken for the same place.

    Parameters
    ----------
    ratio : float
        A match is kept if the distance between its descriptors is at most this share of the distance to the
        second best; 1 keeps all.
    """

    ratio: float = 0.9

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _number("matching.ratio", self.ratio, 0, 1)


@dataclass(frozen=True)
class RansacSettings:
    """Robust fit of a linear map to pairs of points of which many may be wrong.

    Parameters
    ----------
    tolerance_mm : float
        A pair agrees with a map that misses it by at most this much, mm.
    iterations : int
        Most samples drawn.
    confidence : float
        Drawing ends when a sample without a wrong pair has been drawn with this probability.
    seed : int
        Of the random numbers; the same seed gives the same map.
    """

    tolerance_mm: float = 5.0
    iterations: int = 20_000
    confidence: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        _number("ransac.tolerance_mm", self.tolerance_mm, 1e-9, 1e6)
        _number("ransac.iterations", self.iterations, 1, 10_000_000, whole=True)
        _number("ransac.confidence", self.confidence, 0, 0.999999)
        _number("ransac.seed", self.seed, 0, 2**32 - 1, whole=True)
