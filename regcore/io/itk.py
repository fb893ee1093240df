"""ITK transform files: composites in HDF5 (``.h5``), affines as text (``.txt``), and what ANTs writes.

ITK maps points from the fixed to the moving space in LPS millimetres, and a composite applies the transform
that stands last in the file first: the direction and the order of `Chain`, so that only the signs of x
and y change.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regcore.errors import DamagedFileError, InputError
from regcore.io.atomic import atomic_path
from regcore.io.files import existing_file, extension, is_file
from regcore.io.foreign import (
    FIELD_FIXED_PARAMETERS,
    LARGEST_LINEAR,
    ForeignFileError,
    Record,
    parse,
)
from regcore.io.itk_matlab import matlab_record
from regcore.io.itk_matrix import linear_matrix
from regcore.io.limits import largest_image_bytes
from regcore.io.nifti import read_values
from regcore.io.nifti_writer import NIFTI_EXTENSIONS
from regcore.io.seal import append_seal, is_sealed, numbers, read_sealed
from regcore.io.tables import read_text, write_text
from regcore.kernels.layout import components
from regcore.kernels.parallel import BLOCK_VOXELS
from regcore.space import Grid
from regcore.transforms import Affine, Chain, Displacement, Transform, Velocity, split

Float32 = npt.NDArray[np.float32]

# x and y change their sign between RAS+ and LPS
FLIP = np.array([-1.0, -1.0, 1.0], np.float32)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TEXT_EXTENSIONS = (".txt", ".tfm")
HDF5_EXTENSIONS = (".h5", ".hdf5")
TEXT_BANNER = "#Insight Transform File V1.0"
LARGEST_TEXT_TRANSFORM_BYTES = 2**20


def read_transform(path: str | os.PathLike[str], *, sealed: bool = False) -> Transform:
    """Read a transform as ITK, ANTs or `write_transform` wrote it.

    Parameters
    ----------
    path : path
        ``.h5`` (composite of affines and displacement fields), ``.txt`` or ``.tfm`` (affine or one of ITK's
        rigid, similarity, translation types), ``.mat`` (ANTs' affine), ``.nii.gz`` (ANTs' field).
    sealed : bool
        Refuse a ``.h5`` file without the seal of `write_transform`, as damaged.

    Returns
    -------
    Transform
        Maps world RAS+ mm of the fixed space to world RAS+ mm of the moving space: `Affine`,
        `Displacement`, or a `Chain` of them in the order of the file.

    Raises
    ------
    InputError
        If the file is missing, damaged, or holds a kind of transform that is not read.
    DamagedFileError
        If the file was written by `write_transform` and is not as it was written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_transform(Path(folder) / "shift.txt", Affine.from_parameters(translation=(1, 2, 3)))
    ...     read_transform(Path(folder) / "shift.txt")([0, 0, 0])
    array([1., 2., 3.])
    """
    if sealed and not is_file(Path(path)):
        raise DamagedFileError(path)
    path = existing_file(path)
    kind = extension(path)
    if kind in NIFTI_EXTENSIONS:
        return _field_of_image(path)
    if kind in HDF5_EXTENSIONS:
        records = _records_of_hdf5(path, sealed)
    elif kind in TEXT_EXTENSIONS:
        records = _records_of_text(path)
    elif kind == ".mat":
        records = [matlab_record(path)]
    else:
        raise InputError(
            f"{path}: expected a name ending in .h5, .txt, .tfm, .mat or .nii.gz, found {kind!r}"
        )
    if records and records[0][0].startswith("CompositeTransform"):
        records = records[1:]
    elif len(records) > 1:
        raise InputError(f"{path}: expected one transform or a composite, found {len(records)} without order")
    steps = [_transform(path, record) for record in records]
    if not steps:
        raise InputError(f"{path}: expected a transform, found none")
    return steps[0] if len(steps) == 1 else Chain(steps)


def write_transform(
    path: str | os.PathLike[str],
    transform: Transform,
    grid: Grid | None = None,
    *,
    compression: bool = False,
) -> None:
    """Write a transform for ITK, ANTs and nitransforms, whole or not at all.

    The same transform gives the same bytes.

    Parameters
    ----------
    path : path
        ``.h5`` for any transform, ``.txt`` or ``.tfm`` for affines only (several are multiplied).
    transform : Transform
        Velocities are written as their displacements.
    grid : Grid, optional
        Bring the transform onto this grid first, as one affine and one displacement field (see
        `regcore.transforms.split`); needed for transforms that are neither affines nor fields.
    compression : bool
        Compress fields without loss (gzip level 1 after byte shuffling).

    Raises
    ------
    InputError
        If the transform does not fit the kind of file.
    """
    path = Path(path)
    steps = Chain((transform,)).transforms
    affine_only = all(isinstance(step, Affine) for step in steps)
    if grid is not None and not affine_only:
        steps = split(transform, grid)
    if extension(path) in TEXT_EXTENSIONS:
        if not affine_only:
            raise InputError(f"{path}: expected an affine for a {path.suffix} file, found a field; use .h5")
        _write_text_affine(path, steps)
    elif extension(path) in HDF5_EXTENSIONS:
        _write_hdf5(path, steps, compression)
    else:
        raise InputError(f"{path}: expected a name ending in .h5, .txt or .tfm, found {path.suffix!r}")


def _write_text_affine(path: Path, steps: Sequence[Transform]) -> None:
    matrix = np.eye(4)
    for step in steps:
        if isinstance(step, Affine):
            matrix = matrix @ step.matrix
    _, parameters, fixed = _affine_record(Affine(matrix))
    lines = [
        TEXT_BANNER,
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        "Parameters: " + " ".join(repr(float(value)) for value in parameters),
        "FixedParameters: " + " ".join(repr(float(value)) for value in fixed),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _write_hdf5(path: Path, steps: Sequence[Transform], compression: bool) -> None:
    records = [_record(path, step) for step in steps] or [_affine_record(Affine(np.eye(4)))]
    import h5py

    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w") as file:
            index = _fill_hdf5(file, h5py.string_dtype("ascii"), records, compression)
        append_seal(temporary, {"transforms": index})


def _fill_hdf5(
    file: Any, text: Any, records: Sequence[Record], compression: bool
) -> list[dict[str, Any]] | None:
    """Write the transforms, and say where their numbers lie; None if they are packed."""
    filters: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    index: list[dict[str, Any]] = []
    packed = False
    file.create_dataset("HDFVersion", data=["1.10"], dtype=text)
    file.create_dataset("ITKVersion", data=["5.4.0"], dtype=text)
    file.create_dataset("OSName", data=["any"], dtype=text)
    file.create_dataset("OSVersion", data=["any"], dtype=text)
    head = file.create_group("TransformGroup/0")
    head.create_dataset("TransformType", data=["CompositeTransform_double_3_3"], dtype=text)
    for number, (kind, parameters, fixed) in enumerate(records, start=1):
        group = file.create_group(f"TransformGroup/{number}")
        group.create_dataset("TransformType", data=[kind], dtype=text)
        large = compression and parameters.size > LARGEST_LINEAR
        packed |= large
        stored = (
            group.create_dataset("TransformFixedParameters", data=fixed),
            group.create_dataset("TransformParameters", data=parameters, **(filters if large else {})),
        )
        place = [] if packed else [[data.dtype.str, data.id.get_offset(), data.size] for data in stored]
        index.append({"kind": kind, "numbers": place})
    return None if packed else index


def _record(path: Path, step: Transform) -> Record:
    if isinstance(step, Velocity):
        step = step.displacement
    if isinstance(step, Affine):
        return _affine_record(step)
    if isinstance(step, Displacement):
        return _field_record(step)
    raise InputError(
        f"{path}: expected affines and fields, found {type(step).__name__}; give the grid to write it on"
    )


def _affine_record(affine: Affine) -> Record:
    matrix = LPS @ affine.matrix @ LPS
    # adding 0 turns -0.0 into 0.0
    parameters = np.concatenate([matrix[:3, :3].ravel(), matrix[:3, 3]]) + 0.0
    return "AffineTransform_double_3_3", parameters, np.zeros(3)


def _field_record(displacement: Displacement) -> Record:
    grid = displacement.grid
    spacing = grid.spacing
    to_lps = (LPS @ grid.affine)[:3]
    parameters = _in_order_of_itk(displacement.field, to_lps[:, :3].astype(np.float32)).ravel()
    fixed = np.concatenate([grid.shape, to_lps[:, 3], spacing, (to_lps[:, :3] / spacing).ravel()]) + 0.0
    return "DisplacementFieldTransform_float_3_3", parameters, fixed


def _in_order_of_itk(field: Float32, matrix: Float32) -> Float32:
    """Vectors of a field, (X, Y, Z, 3), times a matrix, as (Z, Y, X, 3) in C order, where x runs fastest."""
    parts = components(field)
    _, nx, ny, nz = parts.shape
    out = np.empty((nz, ny, nx, 3), np.float32)
    # what the processor's cache holds is turned at once; whole fields beside this one would be memory to find
    rows = max(BLOCK_VOXELS // (nx * nz), 1)
    for y in range(0, ny, rows):
        block = parts[:, :, y : y + rows]
        vectors = matrix @ block.reshape(3, -1)
        # adding 0 turns -0.0 into 0.0
        out[:, y : y + rows] = (vectors + np.float32(0)).reshape(block.shape).transpose(3, 2, 1, 0)
    return out


def _transform(path: Path, record: Record) -> Transform:
    kind, parameters, fixed = record
    if not np.isfinite(parameters).all() or not np.isfinite(fixed).all():
        raise InputError(f"{path}: expected finite parameters, found NaN or infinity")
    try:
        if kind.startswith("DisplacementFieldTransform"):
            return _displacement(path, parameters, fixed)
        # what overflows is refused as infinite
        with np.errstate(all="ignore"):
            return Affine(LPS @ linear_matrix(path, kind, parameters.astype(np.float64), fixed) @ LPS)
    except InputError as error:
        message = str(error)
        raise error if message.startswith(str(path)) else InputError(f"{path}: {message}") from error


def _displacement(path: Path, parameters: npt.NDArray[Any], fixed: npt.NDArray[np.float64]) -> Displacement:
    if fixed.size != FIELD_FIXED_PARAMETERS:
        raise InputError(f"{path}: expected a 3D field with 18 fixed parameters, found {fixed.size}")
    shape = (int(fixed[0]), int(fixed[1]), int(fixed[2]))
    if min(shape) < 1 or parameters.size != 3 * math.prod(shape):
        raise InputError(f"{path}: expected a field of {shape} voxels, found {parameters.size} numbers")
    affine = np.eye(4)
    affine[:3, :3] = fixed[9:].reshape(3, 3) * fixed[6:9]
    affine[:3, 3] = fixed[3:6]
    vectors = np.asarray(parameters, dtype=np.float32).reshape(*shape[::-1], 3).transpose(2, 1, 0, 3)
    return Displacement.from_world(vectors * FLIP, Grid(shape, LPS @ affine))


def _records_of_hdf5(path: Path, sealed: bool) -> list[Record]:
    if is_sealed(path):
        content, index = read_sealed(path)
        found = index.get("transforms") if isinstance(index, dict) else None
        if found is not None:
            return _sealed_records(path, content, found)
    elif sealed:
        raise DamagedFileError(path)
    try:
        description, arrays = parse("hdf5", path, largest_image_bytes())
    except ForeignFileError as error:
        raise InputError(
            f"{path}: expected an ITK transform in HDF5, found a damaged or foreign file ({error})"
        ) from error
    pairs = zip(arrays[::2], arrays[1::2], strict=True)
    return [
        (str(kind), parameters, fixed.astype(np.float64))
        for kind, (parameters, fixed) in zip(description["kinds"], pairs, strict=True)
    ]


def _sealed_records(path: Path, content: npt.NDArray[np.uint8], index: Any) -> list[Record]:
    """Transforms that a seal points to; the composite that holds them comes first."""
    records: list[Record] = [("CompositeTransform", np.zeros(0), np.zeros(0))]
    try:
        for entry in index:
            fixed, parameters = (numbers(path, content, *place) for place in entry["numbers"])
            records.append((str(entry["kind"]), parameters, fixed.astype(np.float64)))
    except (TypeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected an index of transforms in its seal, found another") from error
    return records


def _records_of_text(path: Path) -> list[Record]:
    records: list[Record] = []
    kind, parameters = "", np.zeros(0)
    lines = read_text(path, LARGEST_TEXT_TRANSFORM_BYTES).splitlines()
    if not lines or not lines[0].startswith("#Insight Transform File"):
        raise InputError(f"{path}: expected the first line {TEXT_BANNER!r}, found another")
    for number, line in enumerate(lines[1:], start=2):
        name, _, rest = line.partition(":")
        try:
            if name == "Transform":
                kind, parameters = rest.strip(), np.zeros(0)
                if kind.startswith("CompositeTransform"):
                    records.append((kind, parameters, parameters))
            elif name == "Parameters":
                parameters = np.array(rest.split(), dtype=np.float64)
            elif name == "FixedParameters":
                records.append((kind, parameters, np.array(rest.split(), dtype=np.float64)))
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected numbers, found {rest.strip()[:40]!r}"
            ) from error
    return records


def _field_of_image(path: Path) -> Displacement:
    """ANTs' displacement field: (X, Y, Z, 1, 3) in LPS mm."""
    values, affine = read_values(path)
    if values.ndim != 5 or values.shape[3:] != (1, 3):
        raise InputError(
            f"{path}: expected a displacement field of shape (X, Y, Z, 1, 3), found {values.shape}"
        )
    shape = (values.shape[0], values.shape[1], values.shape[2])
    field = values[:, :, :, 0].astype(np.float32) * FLIP
    return Displacement.from_world(field, Grid(shape, affine))
