"""``regcore apply``, ``invert``, ``compose`` and ``jacobian``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regcore.cli.options import (
    AFFINE_NAMES,
    FIELD_NAMES,
    IMAGE_NAMES,
    LANDMARK_NAMES,
    PATH,
    POINT_NAMES,
    TABLE_NAMES,
    Frame,
    check_output,
    frame_option,
    read_chain,
    threads_option,
    transforms_option,
    use_threads,
)
from regcore.errors import InputError

if TYPE_CHECKING:
    from regcore import space

reference_option = click.option(
    "--reference", "-r", type=PATH, help="Image whose grid the field is written on: one affine and one field."
)


class Interpolation(StrEnum):
    """How an image is read between its voxels."""

    linear = "linear"
    nearest = "nearest"
    cubic = "cubic"


@click.command()
@click.argument(
    "source", type=PATH, metavar="INPUT", help="Image, label map, or landmarks (.tsv, .csv, .mrk.json, ...)."
)
@click.argument("output", type=PATH, help="What to write: .nii.gz, or .tsv, .csv or .mrk.json for points.")
@transforms_option
@click.option("--reference", "-r", type=PATH, help="Image whose grid the output takes; not for points.")
@click.option("--labels", "-l", is_flag=True, help="INPUT holds labels: each voxel gets the likeliest one.")
@click.option(
    "--interpolation",
    "-n",
    type=click.Choice(Interpolation),
    default=Interpolation.linear,
    help="How intensities are read between voxels.",
)
@click.option("--inverse", is_flag=True, help="Invert the chain of transforms first (slow for fields).")
@frame_option
@threads_option
def apply(
    source: Path,
    output: Path,
    transforms: tuple[Path, ...],
    reference: Path | None,
    labels: bool,
    interpolation: Interpolation,
    inverse: bool,
    frame: Frame,
    threads: int,
) -> None:
    """Bring an image, a label map or points through transforms.

    Images are pulled back: every voxel of the reference asks the transform where to read INPUT; what is read
    between voxels is rounded to 1e-5 of its range. Points go the transform's own way, from the fixed to the
    moving space; from table to table, the columns x, y, z are replaced and all others are kept.

    \b
    regcore apply moving.nii.gz warped.nii.gz -r fixed.nii.gz -t xfm.h5
    regcore apply atlas_labels.nii.gz labels.nii.gz -r fixed.nii.gz -t xfm.h5 --labels
    regcore apply fixed_points.tsv moving_points.tsv -t xfm.h5
    """
    use_threads(threads)
    if source.name.lower().endswith(POINT_NAMES):
        check_output(output, LANDMARK_NAMES, [source])
        _apply_to_points(source, output, transforms, inverse, frame)
        return
    check_output(output, IMAGE_NAMES, [source, reference, *transforms])
    if reference is None:
        raise InputError("--reference: expected an image whose grid the output takes, found none")

    from regcore.io.nifti import read_grid, read_image, read_labels, write_interpolated
    from regcore.resample import resample

    image = read_labels(source) if labels else read_image(source)
    how: Any = "label" if labels else interpolation.value
    warped = resample(image, read_grid(reference), read_chain(transforms, inverse), how)
    write_interpolated(output, warped)


def _apply_to_points(
    source: Path, output: Path, paths: tuple[Path, ...], inverted: bool, frame: Frame
) -> None:
    from regcore.io.landmarks import read_landmarks, table_points, with_points, write_landmarks
    from regcore.io.tables import read_table, write_table
    from regcore.landmarks import Landmarks

    if all(path.name.lower().endswith(TABLE_NAMES) for path in (source, output)):
        table = read_table(source)
        mapped = read_chain(paths, inverted)(table_points(source, table, frame.value))
        write_table(output, with_points(table, mapped, frame.value))
        return
    landmarks = read_landmarks(source, frame=frame.value)
    mapped = read_chain(paths, inverted)(landmarks.points)
    write_landmarks(output, Landmarks(mapped, landmarks.names), frame=frame.value)


@click.command()
@click.argument("transform", type=PATH, help="Transform to invert.")
@click.argument("output", type=PATH, help="Inverse to write, .h5 (.txt if linear).")
@reference_option
@threads_option
def invert(transform: Path, output: Path, reference: Path | None, threads: int) -> None:
    """Invert a transform.

    Fields are inverted numerically on their own grid. A registration writes a more exact inverse itself
    (regcore register --inverse).

    \b
    regcore invert xfm.h5 inverse.h5
    """
    from regcore.io.itk import write_transform

    check_output(output, (*FIELD_NAMES, *AFFINE_NAMES), [transform, reference])
    use_threads(threads)
    write_transform(output, read_chain([transform], inverted=True), _grid(reference))


@click.command()
@click.argument(
    "transforms",
    type=PATH,
    nargs=-1,
    required=True,
    help="Transforms; the last one meets the point first.",
)
@click.option("--output", "-o", type=PATH, required=True, help="Transform to write, .h5 (.txt if linear).")
@reference_option
@threads_option
def compose(transforms: tuple[Path, ...], output: Path, reference: Path | None, threads: int) -> None:
    """Write several transforms as one.

    A B C gives A(B(C(x))). Without a reference the file holds the chain as it is, exactly. With one, all of
    it becomes one affine and one displacement field on that grid.

    \b
    regcore compose template_to_subject.h5 atlas_to_template.h5 -o atlas_to_subject.h5
    """
    from regcore.io.itk import write_transform

    check_output(output, (*FIELD_NAMES, *AFFINE_NAMES), [*transforms, reference])
    use_threads(threads)
    write_transform(output, read_chain(transforms), _grid(reference))


@click.command()
@click.argument("output", type=PATH, help="Map to write, .nii.gz.")
@transforms_option
@click.option(
    "--reference",
    "-r",
    type=PATH,
    required=True,
    help="Image of the fixed space, whose grid the map takes.",
)
@click.option("--relative", is_flag=True, help="Leave the nearest affine out: shape, not size.")
@click.option("--mask", type=PATH, help="Where that affine is fitted, on the grid of the reference.")
@threads_option
def jacobian(
    output: Path,
    transforms: tuple[Path, ...],
    reference: Path,
    relative: bool,
    mask: Path | None,
    threads: int,
) -> None:
    """Map where, and by how much, the moving image is larger.

    The value is the natural logarithm of the Jacobian determinant. For a template-to-subject transform a
    value above 0 says that the subject is larger than the template there.

    \b
    regcore jacobian logjac.nii.gz -r template.nii.gz -t template_to_subject.h5
    """
    check_output(output, IMAGE_NAMES, [reference, mask, *transforms])

    from regcore.io.nifti import read_grid, read_labels, write_image
    from regcore.morphometry.jacobian import log_jacobian

    use_threads(threads)
    inside = None if mask is None else read_labels(mask)
    write_image(output, log_jacobian(read_chain(transforms), read_grid(reference), relative, inside))


def _grid(reference: Path | None) -> space.Grid | None:
    if reference is None:
        return None
    from regcore.io.nifti import read_grid

    return read_grid(reference)
