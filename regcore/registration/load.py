"""Load what a registration needs before its images are there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from regcore.errors import InputError
from regcore.image import Image
from regcore.registration.driver import register
from regcore.registration.settings import RegistrationSettings
from regcore.space import Grid

SIZE = 16


def load_kernels(settings: RegistrationSettings) -> None:
    """Register two tiny images once, which reads every kernel that the settings need from its cache.

    Meant for a thread that works while images are read.

    Parameters
    ----------
    settings : RegistrationSettings
        Their models, measures and regularisers count, not their iterations.

    Examples
    --------
    >>> load_kernels(RegistrationSettings())
    """
    linear = [
        replace(stage, shrink=(1.0,), iterations=(1,), rotation_search="local", rotations_deg=0.0)
        for stage in settings.linear
    ]
    deformable = settings.deformable
    if deformable is not None:
        deformable = replace(deformable, spacing_mm=(), shrink=(2.0, 1.0), iterations=(1, 1))
    tiny = replace(settings, linear=tuple(linear), deformable=deformable)
    try:
        register(_blob(7.5, settings.labels), _blob(8.0, settings.labels), tiny)
    except InputError:
        # whatever these settings cannot do to blobs, the real images may take
        return


def _blob(centre: float, labels: bool) -> Image:
    x = np.mgrid[:SIZE, :SIZE, :SIZE].astype(np.float32)
    data = np.exp(-((x - np.float32(centre)) ** 2).sum(axis=0) / 20)
    return Image((data > 0.5).astype(np.int32) if labels else data, Grid((SIZE, SIZE, SIZE), np.eye(4)))
