"""An image: voxel values on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import InputError
from regcore.space import Grid


@dataclass(frozen=True, eq=False)
class Image:
    """Voxel values on a grid.

    Parameters
    ----------
    data : array, shape (X, Y, Z)
        float32 for intensities, int32 for labels, uint8 for masks; made C-contiguous; nobody writes into it.
    grid : Grid
        Where the voxels lie.

    Raises
    ------
    InputError
        If `data` does not have the shape of `grid`.

    Examples
    --------
    >>> image = Image(np.zeros((2, 3, 4), np.float32), Grid((2, 3, 4), np.eye(4)))
    >>> image.data.dtype
    dtype('float32')
    """

    data: npt.NDArray[Any]
    grid: Grid

    def __post_init__(self) -> None:
        """Check the shape."""
        data = np.ascontiguousarray(self.data)
        if data.shape != self.grid.shape:
            raise InputError(f"image: expected data of shape {self.grid.shape}, found {data.shape}")
        # not flagged read-only: numba compiles every kernel a second time for read-only arrays
        object.__setattr__(self, "data", data)
