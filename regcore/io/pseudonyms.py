"""Names that say nothing about a participant, and stay the same as the cohort grows."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path

from regcore.errors import InputError
from regcore.io.files import existing_file

FEWEST_BYTES = 16
MOST_BYTES = 4096
LETTERS = 12


def read_secret(path: str | os.PathLike[str]) -> bytes:
    """Content of a file that only who may know the participants can read.

    Raises
    ------
    InputError
        If the file is missing, too short to be a secret, or too long for one.
    """
    path = existing_file(path)
    size = path.stat().st_size
    if not FEWEST_BYTES <= size <= MOST_BYTES:
        raise InputError(f"{path}: expected a secret of {FEWEST_BYTES} to {MOST_BYTES} bytes, found {size}")
    return Path(path).read_bytes().strip()


def pseudonym(secret: bytes, participant: str) -> str:
    """Letters and digits that stand for a participant; who has no secret cannot find out for whom.

    Parameters
    ----------
    secret : bytes
        From `read_secret`.
    participant : str
        Identifier without ``sub-``.

    Returns
    -------
    str
        The first 60 bits of the keyed hash (HMAC-SHA256), 12 characters.

    Examples
    --------
    >>> pseudonym(b"only for this example", "01")
    'MWL7SG5FIQRD'
    """
    digest = hmac.new(secret, participant.encode("utf-8"), hashlib.sha256).digest()
    return base64.b32encode(digest).decode("ascii")[:LETTERS]
