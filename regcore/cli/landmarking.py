"""``regcore landmarks match``, ``fit`` and ``errors``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from regcore.cli.options import (
    AFFINE_NAMES,
    FIELD_NAMES,
    LANDMARK_NAMES,
    PATH,
    TABLE_NAMES,
    CommandGroup,
    Frame,
    check_output,
    frame_option,
    quiet_option,
    read_chain,
    threads_option,
    use_threads,
)
from regcore.errors import InputError

if TYPE_CHECKING:
    from regcore.features import LandmarkFit
    from regcore.landmarks import Landmarks


class Model(StrEnum):
    """What is fitted to the landmarks."""

    translation = "translation"
    rigid = "rigid"
    similarity = "similarity"
    affine = "affine"
    field = "field"


fixed_points_argument = click.argument("fixed", type=PATH, help="Landmarks of the fixed space.")
moving_points_argument = click.argument("moving", type=PATH, help="Landmarks of the moving space.")
fixed_image_option = click.option(
    "--fixed-image",
    type=PATH,
    help="Image of the fixed space: a field lies on its grid, index files count in it.",
)
moving_image_option = click.option(
    "--moving-image", type=PATH, help="Image of the moving space, for index files."
)
TO_WRITE = "Fixed-to-moving transform to write, .h5 (.txt if linear)."
TO_FIT = "What to fit; a field is an affine and a thin-plate spline."


@click.group(cls=CommandGroup, no_args_is_help=False)
def landmarks() -> None:
    """Register by landmarks: find them, fit to them, measure on them.

    Landmark files are tables with the columns x, y, z and perhaps name (.csv, .tsv), markups of 3D Slicer
    (.mrk.json, .fcsv), or point files of elastix and ITK (.txt, .pts). Two files are paired by name where all
    names are there and different, and else by order.

    A start for images that lie far apart, or turned:

    \b
    regcore landmarks match fixed.nii.gz moving.nii.gz -t start.txt
    regcore register fixed.nii.gz moving.nii.gz --initial start.txt -t xfm.h5
    regcore landmarks errors fixed.mrk.json moving.mrk.json -t xfm.h5
    """


@landmarks.command()
@click.argument("fixed", type=PATH, help="Image of the fixed space.")
@click.argument("moving", type=PATH, help="Image of the moving space.")
@click.option("--transform", "-t", type=PATH, help=TO_WRITE)
@click.option("--model", "-m", type=click.Choice(Model), default=Model.affine, help=TO_FIT)
@click.option(
    "--fixed-points", type=PATH, help="Matched places in the fixed image, to write: .csv, .tsv, .mrk.json."
)
@click.option("--moving-points", type=PATH, help="The same places in the moving image.")
@click.option("--fixed-mask", type=PATH, help="Mask on the fixed grid; only inside it.")
@click.option("--moving-mask", type=PATH, help="Mask on the moving grid; only inside it.")
@click.option("--rotation", is_flag=True, help="Match whatever the turn; without, up to about 20 degrees.")
@click.option(
    "--voxel", default=0.0, help="Voxel size to search at, mm; smaller finds more; 0: each image's mean."
)
@click.option(
    "--tolerance", default=0.0, help="Matches agree with a linear map within this, mm; 0: three voxels."
)
@click.option("--smoothing", default=20.0, help="Of a field, voxels; 0 passes through every match.")
@frame_option
@threads_option
@quiet_option
def match(
    fixed: Path,
    moving: Path,
    transform: Path | None,
    model: Model,
    fixed_points: Path | None,
    moving_points: Path | None,
    fixed_mask: Path | None,
    moving_mask: Path | None,
    rotation: bool,
    voxel: float,
    tolerance: float,
    smoothing: float,
    frame: Frame,
    threads: int,
    quiet: bool,
) -> None:
    """Find the same places in two images, and fit a transform to them.

    Keypoints are blobs of any size. They are matched by the gradients around them, so both images must have
    the same contrast, and be 2D or 3D alike; brightness does not matter. Wrong matches are left out.

    \b
    regcore landmarks match fixed.nii.gz moving.nii.gz -t start.h5 --model field
    regcore landmarks match a.nii.gz b.nii.gz --fixed-points a.mrk.json --moving-points b.mrk.json
    """
    points = [path for path in (fixed_points, moving_points) if path is not None]
    inputs = [fixed, moving, fixed_mask, moving_mask]
    if transform is None and not points:
        raise InputError("--transform: expected it or --fixed-points and --moving-points, found none of them")
    if len(points) == 1:
        raise InputError("--fixed-points, --moving-points: expected both or none, found one")
    if transform is not None:
        check_output(transform, _transform_names(model), inputs)
    for path in points:
        check_output(path, LANDMARK_NAMES, inputs)

    from regcore.features import (
        KeypointSettings,
        RansacSettings,
        default_tolerance,
        find_correspondences,
        fit_transform,
    )
    from regcore.io.itk import write_transform
    from regcore.io.landmarks import write_landmarks
    from regcore.io.nifti import read_image, read_mask

    use_threads(threads)
    fixed_image, moving_image = read_image(fixed), read_image(moving)
    ransac = RansacSettings(tolerance_mm=tolerance or default_tolerance(fixed_image.grid))
    found = find_correspondences(
        fixed_image,
        moving_image,
        KeypointSettings(voxel_mm=voxel, rotation=rotation),
        ransac=ransac,
        model="affine" if model is Model.field else model.value,
        fixed_mask=None if fixed_mask is None else read_mask(fixed_mask),
        moving_mask=None if moving_mask is None else read_mask(moving_mask),
    )
    summary = f"{found.features[0]} and {found.features[1]} keypoints, {len(found.fixed)} matched"
    if transform is not None:
        fit = fit_transform(
            found.fixed,
            found.moving,
            model.value,
            grid=fixed_image.grid,
            # the matches of a field were judged by their neighbours already
            ransac=None if model is Model.field else ransac,
            smoothing=smoothing,
        )
        summary += f"; {_fit_summary(found.fixed, found.moving, fit)}"
        write_transform(transform, fit.transform)
    if fixed_points is not None and moving_points is not None:
        write_landmarks(fixed_points, found.fixed, frame=frame.value)
        write_landmarks(moving_points, found.moving, frame=frame.value)
    if not quiet:
        click.echo(summary)


@landmarks.command()
@fixed_points_argument
@moving_points_argument
@click.option("--transform", "-t", type=PATH, required=True, help=TO_WRITE)
@click.option("--model", "-m", type=click.Choice(Model), default=Model.rigid, help=TO_FIT)
@click.option(
    "--tolerance",
    default=0.0,
    help="Leave out pairs that the best linear map misses by more, mm; 0 uses all.",
)
@click.option("--smoothing", default=0.0, help="Of a field, voxels; 0 passes through every pair.")
@fixed_image_option
@moving_image_option
@frame_option
@threads_option
@quiet_option
def fit(
    fixed: Path,
    moving: Path,
    transform: Path,
    model: Model,
    tolerance: float,
    smoothing: float,
    fixed_image: Path | None,
    moving_image: Path | None,
    frame: Frame,
    threads: int,
    quiet: bool,
) -> None:
    """Fit a transform to two landmark files.

    Says the fiducial registration error (FRE): the distance that is left on the very pairs that were fitted.
    It does not say how good the transform is elsewhere; landmarks that were not fitted do
    (regcore landmarks errors).

    \b
    regcore landmarks fit fixed.mrk.json moving.mrk.json -t rigid.txt
    regcore landmarks fit fixed.csv moving.csv -t field.h5 --model field --fixed-image fixed.nii.gz
    """
    inputs = [fixed, moving, fixed_image, moving_image]
    check_output(transform, _transform_names(model), inputs)
    if model is Model.field and fixed_image is None:
        raise InputError("--fixed-image: expected an image whose grid the field takes, found none")

    from regcore.features import RansacSettings, fit_transform
    from regcore.io.itk import write_transform
    from regcore.io.nifti import read_grid

    use_threads(threads)
    pairs = read_pairs(fixed, moving, fixed_image, moving_image, frame)
    found = fit_transform(
        *pairs,
        model.value,
        grid=None if fixed_image is None else read_grid(fixed_image),
        ransac=RansacSettings(tolerance_mm=tolerance) if tolerance else None,
        smoothing=smoothing,
    )
    write_transform(transform, found.transform)
    if not quiet:
        click.echo(_fit_summary(*pairs, found))


@landmarks.command()
@fixed_points_argument
@moving_points_argument
@click.option(
    "--transform",
    "-t",
    "transforms",
    type=PATH,
    multiple=True,
    help="Fixed-to-moving transform; of several, the last comes first, as in ANTs.",
)
@click.option("--output", "-o", type=PATH, help="Table with a row a landmark to write, .tsv or .csv.")
@fixed_image_option
@moving_image_option
@frame_option
@threads_option
def errors(
    fixed: Path,
    moving: Path,
    transforms: tuple[Path, ...],
    output: Path | None,
    fixed_image: Path | None,
    moving_image: Path | None,
    frame: Frame,
    threads: int,
) -> None:
    """Measure a transform on landmarks, in mm.

    Prints the distances between moving landmarks and mapped fixed ones, before and after. On landmarks that
    the transform was not made from this is the target registration error (TRE); on those that it was
    fitted to, the fiducial registration error (FRE).

    \b
    regcore landmarks errors fixed.csv moving.csv -t xfm.h5 -o errors.tsv
    """
    if output is not None:
        check_output(output, TABLE_NAMES, [fixed, moving, *transforms])

    from regcore.features import ERROR_COLUMNS, error_summary, error_table
    from regcore.io.tables import write_table

    use_threads(threads)
    pairs = read_pairs(fixed, moving, fixed_image, moving_image, frame)
    table = error_table(*pairs, read_chain(transforms) if transforms else None)
    if output is not None:
        write_table(output, table, ERROR_COLUMNS)
    click.echo(error_summary(table).to_csv(sep="\t", index=False, float_format="%.6g"), nl=False)


def _transform_names(model: Model) -> tuple[str, ...]:
    return FIELD_NAMES if model is Model.field else (*FIELD_NAMES, *AFFINE_NAMES)


def read_pairs(
    fixed: Path, moving: Path, fixed_image: Path | None, moving_image: Path | None, frame: Frame
) -> tuple[Landmarks, Landmarks]:
    """Corresponding landmarks of two files, in one order."""
    from regcore.io.landmarks import read_landmarks
    from regcore.io.nifti import read_grid
    from regcore.landmarks import pair_landmarks

    grids = [None if image is None else read_grid(image) for image in (fixed_image, moving_image)]
    first, second = (
        read_landmarks(path, frame=frame.value, grid=grid)
        for path, grid in zip((fixed, moving), grids, strict=True)
    )
    return pair_landmarks(first, second)


def _fit_summary(fixed: Landmarks, moving: Landmarks, fit: LandmarkFit) -> str:
    import numpy as np

    from regcore.features import registration_errors

    error = registration_errors(fixed, moving, fit.transform)[fit.used]
    return (
        f"fitted to {len(error)} of {len(fixed)} pairs, FRE {np.sqrt((error**2).mean()):.3f} mm (RMS), "
        f"at most {error.max():.3f} mm"
    )
