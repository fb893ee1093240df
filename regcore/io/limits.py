"""How much a reader may take into memory, whatever a file says about itself."""

from __future__ import annotations

import os
from pathlib import Path

from regcore.errors import InputError

LARGEST_IMAGE_VARIABLE = "REGCORE_LARGEST_IMAGE_GB"
LARGEST_IMAGE_GB = 8.0
# tables, configurations, landmarks, transforms in words: a tenth is enough for 10,000 members
LARGEST_TEXT_BYTES = 64 * 2**20
# gzip and zlib can pack no tighter than this
TIGHTEST_PACKING = 1032


def largest_image_bytes() -> int:
    """Most bytes that the voxels of an image, or the vectors of a transform, may have as they are stored.

    8 GiB, or as many GiB as the environment variable REGCORE_LARGEST_IMAGE_GB says.

    Raises
    ------
    InputError
        If the variable holds anything but a number above zero.

    Examples
    --------
    >>> largest_image_bytes() > 0
    True
    """
    text = os.environ.get(LARGEST_IMAGE_VARIABLE, str(LARGEST_IMAGE_GB))
    try:
        size = float(text) * 2**30
    except ValueError:
        size = 0.0
    if not 0 < size < 2**62:
        raise InputError(f"{LARGEST_IMAGE_VARIABLE}: expected a number of GiB above zero, found {text!r}")
    return int(size)


def set_largest_image(size_gb: float) -> None:
    """Set what `largest_image_bytes` says here and in every process that is started from here.

    Examples
    --------
    >>> before = largest_image_bytes()
    >>> set_largest_image(2)
    >>> largest_image_bytes() // 2**30
    2
    >>> set_largest_image(before / 2**30)
    """
    os.environ[LARGEST_IMAGE_VARIABLE] = str(size_gb)


def check_announced(path: Path, announced: int, stored: int) -> None:
    """Refuse what a file announces before anything is allocated for it.

    Parameters
    ----------
    path : Path
        File, for the message.
    announced : int
        Bytes of voxels by its header.
    stored : int
        Bytes that can be in the file at most.

    Raises
    ------
    InputError
        If they are more than the file can hold, or more than `largest_image_bytes`.

    Examples
    --------
    >>> check_announced(Path("a.nii"), announced=10**12, stored=300)
    Traceback (most recent call last):
        ...
    regcore.errors.InputError: a.nii: expected 1000000000000 bytes of voxels, found at most 300 (truncated)
    """
    if announced > stored:
        raise InputError(
            f"{path}: expected {announced} bytes of voxels, found at most {max(stored, 0)} (truncated)"
        )
    if announced > largest_image_bytes():
        raise InputError(
            f"{path}: expected at most {largest_image_bytes() / 2**30:g} GiB of voxels, found a header that "
            f"announces {announced / 2**30:.1f} ({LARGEST_IMAGE_VARIABLE} sets the limit)"
        )
