"""Landmarks: points in the world, with or without names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points in world space.

    Parameters
    ----------
    points : array, shape (N, 3)
        World RAS+ mm.
    names : tuple of str, optional
        One a point; empty where the points have none.

    Raises
    ------
    InputError
        If there is no point, one is not finite, or there are more or fewer names than points.

    Examples
    --------
    >>> len(Landmarks(np.zeros((2, 3)), ("left", "right")))
    2
    """

    points: Array
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the points."""
        points = np.array(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f"landmarks: expected points of shape (N, 3), found {points.shape}")
        if len(points) == 0:
            raise InputError("landmarks: expected at least one point, found none")
        if not np.isfinite(points).all():
            raise InputError("landmarks: expected finite coordinates, found NaN or infinity")
        if self.names and len(self.names) != len(points):
            raise InputError(f"landmarks: expected {len(points)} names, found {len(self.names)}")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "names", tuple(str(name) for name in self.names))

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    def take(self, indices: Sequence[int] | npt.NDArray[np.intp]) -> Landmarks:
        """Some of the landmarks, in the order asked for."""
        names = tuple(self.names[int(index)] for index in indices) if self.names else ()
        return Landmarks(self.points[np.asarray(indices, dtype=np.intp)], names)


def pair_landmarks(fixed: Landmarks, moving: Landmarks) -> tuple[Landmarks, Landmarks]:
    """Bring corresponding landmarks into one order.

    Where both sets have names, and no name twice, names decide: landmarks that only one set has are left
    out. Otherwise the order does, and both sets must be of one size.

    Parameters
    ----------
    fixed, moving : Landmarks

    Returns
    -------
    fixed, moving : Landmarks
        Of one size, in the order of `fixed`.

    Raises
    ------
    InputError
        If no name is in both sets, or sets without unique names differ in size.

    Examples
    --------
    >>> first = Landmarks(np.zeros((2, 3)), ("nose", "chin"))
    >>> second = Landmarks(np.ones((3, 3)), ("ear", "chin", "nose"))
    >>> [pair.names for pair in pair_landmarks(first, second)]
    [('nose', 'chin'), ('nose', 'chin')]
    """
    if all(each.names and len(set(each.names)) == len(each) for each in (fixed, moving)):
        where = {name: index for index, name in enumerate(moving.names)}
        common = [index for index, name in enumerate(fixed.names) if name in where]
        if not common:
            raise InputError(
                f"landmarks: expected names that both sets have, found none "
                f"({fixed.names[0]!r} and {moving.names[0]!r} come first)"
            )
        return fixed.take(common), moving.take([where[fixed.names[index]] for index in common])
    if len(fixed) != len(moving):
        raise InputError(
            f"landmarks: expected as many moving as fixed ones ({len(fixed)}) where names do not pair them, "
            f"found {len(moving)}"
        )
    return fixed, moving
