"""The label that most members of a cohort have at a voxel, from sums over parts of the cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.image import Image
from regcore.space import Grid


@dataclass(frozen=True, eq=False)
class Votes:
    """What some members say about every voxel: the label that leads, and by how much.

    Two numbers a voxel, however many labels and members there are. A label that more than half of all
    weight votes for is always the one that leads in the end, in whatever parts the members are summed.

    Parameters
    ----------
    grid : Grid
    label : int32 array, shape (X, Y, Z)
    lead : float32 array, shape (X, Y, Z)
        Weight by which the label leads over all others together, at most.

    References
    ----------
    Misra J, Gries D. Finding repeated elements. doi:10.1016/0167-6423(82)90012-0
    """

    grid: Grid
    label: npt.NDArray[np.int32]
    lead: npt.NDArray[np.float32]

    @property
    def consensus(self) -> Image:
        """The leading label at every voxel."""
        return Image(self.label, self.grid)


def vote_of(labels: Image, weight: float = 1.0) -> Votes:
    """What one member says."""
    label = labels.data.astype(np.int32)
    return Votes(labels.grid, label, np.full(label.shape, weight, np.float32))


def merge_votes(votes: Sequence[Votes]) -> Votes:
    """What several parts of a cohort say together, in the order given.

    Raises
    ------
    InputError
        If there is none, or they lie on different grids.

    Examples
    --------
    >>> grid = Grid((1, 1, 1), np.eye(4))
    >>> said = [vote_of(Image(np.full((1, 1, 1), label, np.int32), grid)) for label in (7, 5, 7)]
    >>> merge_votes(said).label.item()
    7
    """
    if not votes or any(not vote.grid.matches(votes[0].grid) for vote in votes):
        raise InputError("votes: expected at least one and one common grid, found none or several")
    label, lead = votes[0].label, votes[0].lead
    for vote in votes[1:]:
        same = label == vote.label
        ahead = lead >= vote.lead
        label = np.where(ahead, label, vote.label)
        lead = np.where(same, lead + vote.lead, np.abs(lead - vote.lead))
    return Votes(votes[0].grid, label, lead)
