"""Parsers written in C, kept in a process of their own, because a damaged file may crash or hang them.

This file is a program: the child process runs it by its path and imports nothing of regcore, so that it
starts in a fraction of a second. It gets limits of memory and time before it opens the file, and hands back a
line of JSON and the bare numbers. Nothing it says is trusted: the parent counts the bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# Parameters of one transform in a file: ITK's type, parameters and fixed parameters
Record = tuple[str, Array, npt.NDArray[np.float64]]

SECONDS = 60.0
SECONDS_PER_MEGABYTE = 0.2
# what the parsers need for themselves
OVERHEAD_BYTES = 2**30
LONGEST_DESCRIPTION = 2**16
FIELD_FIXED_PARAMETERS = 18
# more parameters than any linear type has
LARGEST_LINEAR = 32
NUMBER_TYPES = (
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
)


class ForeignFileError(Exception):
    """What the child said about the file, or how it died."""


def parse(kind: str, path: Path, largest_bytes: int) -> tuple[dict[str, Any], list[Array]]:
    """Let a child process parse a file.

    Parameters
    ----------
    kind : {"hdf5", "image", "header"}
        ITK transforms in HDF5; a MetaImage or NRRD image; the header of one.
    path : Path
    largest_bytes : int
        Most bytes of numbers that come back.

    Returns
    -------
    description : dict
        What the parser found, without the numbers.
    arrays : list of array
        1D, in the order of the description.

    Raises
    ------
    ForeignFileError
        If the child cannot parse the file, crashes, or takes too long or too much memory.
    """
    seconds = SECONDS + SECONDS_PER_MEGABYTE * path.stat().st_size / 1e6
    # -P: the folder of this file is no place to import modules from
    command = [sys.executable, "-P", "-W", "ignore", __file__]
    command += [kind, os.path.abspath(path), str(largest_bytes), str(seconds)]  # noqa: PTH100
    with tempfile.TemporaryFile() as numbers:
        try:
            child = subprocess.run(  # noqa: S603 - our interpreter and file, no shell, names as arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=numbers,
                stderr=subprocess.PIPE,
                timeout=seconds + 5,
                check=False,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"},
            )
        except subprocess.TimeoutExpired as error:
            raise ForeignFileError(f"its parser took more than {seconds:.0f} s") from error
        if child.returncode != 0:
            lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
            said = lines[-1][:300] if child.returncode == 1 and lines else ""
            raise ForeignFileError(said or f"its parser ended with code {child.returncode}")
        return _received(numbers, largest_bytes)


def _received(numbers: Any, largest_bytes: int) -> tuple[dict[str, Any], list[Array]]:
    size = numbers.seek(0, os.SEEK_END)
    numbers.seek(0)
    try:
        description = json.loads(numbers.readline(LONGEST_DESCRIPTION))
        dtypes = [np.dtype(name) for name, _ in description["arrays"] if name in NUMBER_TYPES]
        counts = [int(count) for _, count in description["arrays"]]
        wanted = sum(dtype.itemsize * count for dtype, count in zip(dtypes, counts, strict=True))
        if min(counts, default=0) < 0 or wanted != size - numbers.tell() or wanted > largest_bytes:
            raise ValueError("counts")
        arrays = [np.empty(count, dtype) for dtype, count in zip(dtypes, counts, strict=True)]
        for array in arrays:
            numbers.readinto(array.view(np.uint8).data)
    except (ValueError, KeyError, TypeError) as error:
        raise ForeignFileError("its parser gave no sensible answer") from error
    return description, arrays


def hdf5_records(path: str | Path, largest_bytes: int) -> list[Record]:
    """Transforms of an ITK file in HDF5, in the order of the file.

    Only for files whose bytes are known to be sound, or in a child process.

    Raises
    ------
    OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError
        Whatever h5py stumbles over.
    """
    import h5py

    with h5py.File(path, "r") as file:
        group = file["TransformGroup"]
        names = sorted(group, key=int)
        if len(names) > LARGEST_LINEAR:
            raise ValueError(f"{len(names)} transforms are more than a composite has")
        records = []
        for name in names:
            records.append(_hdf5_record(group[name], largest_bytes))
            largest_bytes -= records[-1][1].nbytes
        return records


def _hdf5_record(group: Any, largest_bytes: int) -> Record:
    if group["TransformType"].size != 1:
        raise ValueError("the type is not one text")
    kind = group["TransformType"][0]
    kind = kind.decode("ascii") if isinstance(kind, bytes) else str(kind)
    empty = np.zeros(0)
    if kind.startswith("CompositeTransform"):
        return kind, empty, empty
    # ITK before 4.13 misspelt the names
    prefix = "Transform" if "TransformParameters" in group else "Tranform"
    parameters, fixed = group[f"{prefix}Parameters"], group[f"{prefix}FixedParameters"]
    if parameters.dtype.kind != "f" or fixed.dtype.kind != "f" or fixed.size > LARGEST_LINEAR:
        raise ValueError("the parameters are not numbers")
    centre = np.asarray(fixed[...], np.float64)
    is_field = kind.startswith("DisplacementFieldTransform") and fixed.size == FIELD_FIXED_PARAMETERS
    # before anything is read: a damaged file may claim a field larger than the memory
    if parameters.size > (3 * np.prod(centre[:3]) if is_field else LARGEST_LINEAR):
        raise ValueError(f"{parameters.size} parameters are more than a {kind} of this size has")
    if parameters.size * parameters.dtype.itemsize > largest_bytes:
        raise ValueError(f"more than {largest_bytes / 2**30:g} GiB of parameters")
    return kind, parameters[...], centre


def _hdf5(path: str, largest_bytes: int) -> tuple[dict[str, Any], list[Array]]:
    records = hdf5_records(path, largest_bytes)
    arrays = [np.ascontiguousarray(array).ravel() for _, *pair in records for array in pair]
    # float32 and float64 are all that ITK writes
    arrays = [array if array.dtype.name in NUMBER_TYPES else array.astype(np.float64) for array in arrays]
    return {"kinds": [kind[:80] for kind, _, _ in records]}, arrays


def _itk_header(path: str, largest_bytes: int) -> tuple[dict[str, Any], list[Array]]:
    return _itk_reader(path, largest_bytes)[1], []


def _itk_image(path: str, largest_bytes: int) -> tuple[dict[str, Any], list[Array]]:
    import SimpleITK

    reader, description = _itk_reader(path, largest_bytes)
    if description["components"] != 1 or len(description["shape"]) not in (2, 3):
        return description, []
    return description, [np.ascontiguousarray(SimpleITK.GetArrayFromImage(reader.Execute())).ravel()]


def _itk_reader(path: str, largest_bytes: int) -> tuple[Any, dict[str, Any]]:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    # the one parser that the name asks for, not whichever of ITK's thirty feels addressed by the content
    reader.SetImageIO("MetaImageIO" if path.lower().endswith((".mha", ".mhd")) else "NrrdImageIO")
    reader.SetFileName(path)
    reader.ReadImageInformation()
    shape, components = [int(n) for n in reader.GetSize()], int(reader.GetNumberOfComponents())
    announced = float(np.prod([float(n) for n in shape])) * components
    if announced * _pixel_bytes(reader) > largest_bytes:
        raise ValueError(f"it announces more than {largest_bytes / 2**30:g} GiB of voxels")
    return reader, {
        "shape": shape,
        "components": components,
        "origin": list(reader.GetOrigin()),
        "spacing": list(reader.GetSpacing()),
        "direction": list(reader.GetDirection()),
    }


def _pixel_bytes(reader: Any) -> int:
    import SimpleITK

    name = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    return next((size // 8 for size in (8, 16, 32) if f"{size}-bit" in name), 8)


def _limit_self(largest_bytes: int, seconds: float) -> None:
    """Limits of this process; a system without them has those of the parent's clock."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        # the numbers, a copy of them, and what the parser itself needs
        most = used + 2 * largest_bytes + OVERHEAD_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Parse one file and write what it holds to standard output."""
    kind, path, largest_bytes, seconds = sys.argv[1:]
    parsers = {"hdf5": _hdf5, "image": _itk_image, "header": _itk_header}
    _limit_self(int(largest_bytes), float(seconds))
    try:
        description, arrays = parsers[kind](path, int(largest_bytes))
    except (Exception, RecursionError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        sys.exit(lines[-1])
    description["arrays"] = [(array.dtype.name, int(array.size)) for array in arrays]
    sys.stdout.buffer.write(json.dumps(description).encode("ascii") + b"\n")
    for array in arrays:
        sys.stdout.buffer.write(array.view(np.uint8).data)


if __name__ == "__main__":
    main()
