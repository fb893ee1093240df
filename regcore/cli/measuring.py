"""``regcore average``, ``overlap`` and ``info``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from regcore.cli.options import IMAGE_NAMES, PATH, TABLE_NAMES, check_output, threads_option, use_threads

if TYPE_CHECKING:
    from regcore.transforms import Transform

TRANSFORM_NAMES = (".h5", ".hdf5", ".txt", ".tfm", ".mat")


class Method(StrEnum):
    """How the values of a voxel become one."""

    mean = "mean"
    median = "median"
    trimmed_mean = "trimmed_mean"


@click.command()
@click.argument("images", type=PATH, nargs=-1, required=True, help="Images to average.")
@click.option("--output", "-o", type=PATH, required=True, help="Average to write, .nii.gz.")
@click.option(
    "--method",
    "-m",
    type=click.Choice(Method),
    default=Method.mean,
    help="A trimmed mean leaves out a fifth at either end.",
)
@click.option(
    "--reference", "-r", type=PATH, help="Image whose grid the average takes; the first by default."
)
@threads_option
def average(
    images: tuple[Path, ...], output: Path, method: Method, reference: Path | None, threads: int
) -> None:
    """Average images that lie in one space.

    Images on other grids are resampled by their headers. A voxel is averaged over the images that cover it.
    Nothing is registered and no intensity is changed.

    \b
    regcore average sub-*_space-Study_T1w.nii.gz -o mean.nii.gz
    """
    check_output(output, IMAGE_NAMES, [*images, reference])

    from regcore.groupwise.average import stack_average
    from regcore.io.nifti import read_grid, read_image, write_image
    from regcore.resample import coverage, resample

    use_threads(threads)
    grid = read_grid(reference or images[0])
    stack, coverages = [], []
    for path in images:
        image = read_image(path)
        same = image.grid.matches(grid)
        stack.append(image if same else resample(image, grid))
        coverages.append(None if same else coverage(image.grid, grid))
    write_image(output, stack_average(stack, coverages, method.value))


@click.command()
@click.argument("first", type=PATH, help="Label map to judge.")
@click.argument("second", type=PATH, help="Label map of reference, on the same grid.")
@click.option("--names", "-n", type=PATH, help="Table of label names: columns index and name.")
@click.option("--output", "-o", type=PATH, help="Table to write, .tsv; printed if not given.")
def overlap(first: Path, second: Path, names: Path | None, output: Path | None) -> None:
    """Compare two label maps.

    A row a label: Dice, surface distances (mm) and volumes (mm3).

    \b
    regcore overlap fused.nii.gz manual.nii.gz --names dseg.tsv -o overlap.tsv
    """
    if output is not None:
        check_output(output, TABLE_NAMES, [first, second, names])

    from regcore.io.label_tables import read_label_table
    from regcore.io.nifti import read_labels
    from regcore.io.tables import write_table
    from regcore.labels.overlap import overlap_table

    table = overlap_table(
        read_labels(first), read_labels(second), None if names is None else read_label_table(names).names
    )
    if output is None:
        click.echo(table.to_csv(sep="\t", index=False, float_format="%.6g", na_rep="n/a"), nl=False)
    else:
        write_table(output, table)
        click.echo(f"mean Dice {table['dice'].mean():.4f} over {len(table)} labels")


@click.command()
@click.argument("files", type=PATH, nargs=-1, required=True, help="Images and transforms.")
@threads_option
def info(files: tuple[Path, ...], threads: int) -> None:
    """Say what is in images and transforms.

    Positions are world millimetres, RAS+.

    \b
    regcore info brain.nii.gz xfm.h5
    """
    use_threads(threads)
    for index, path in enumerate(files):
        describe = _describe_transform if path.name.lower().endswith(TRANSFORM_NAMES) else _describe_image
        lines = describe(path)
        click.echo(f"{chr(10) if index else ''}{path}")
        for key, value in lines.items():
            click.echo(f"  {key:<14} {value}")


def _describe_image(path: Path) -> dict[str, str]:
    import nibabel
    import numpy as np

    from regcore.io.nifti import read_image

    image = read_image(path, allow_nan=True)
    grid, data = image.grid, image.data
    finite = data[np.isfinite(data)]
    lower, upper = grid.corners().min(axis=0), grid.corners().max(axis=0)
    lines = {
        "voxels": " x ".join(map(str, grid.shape)) + (" (2D)" if grid.is_2d else ""),
        "voxel size": " x ".join(f"{size:g}" for size in grid.spacing.round(6)) + " mm",
        "axes run to": "".join(nibabel.aff2axcodes(grid.affine)),
        "covers": ", ".join(
            f"{name} {a:.1f} to {b:.1f}" for name, a, b in zip("RAS", lower, upper, strict=True)
        )
        + " mm",
    }
    if finite.size:
        lines["values"] = f"{finite.min():g} to {finite.max():g}, mean {finite.mean(dtype=np.float64):.6g}"
        whole = finite[: 1 << 16] % 1 == 0
        lines["zeros"] = f"{np.mean(finite == 0):.1%}" + (", all values whole" if whole.all() else "")
    if finite.size < data.size:
        lines["not finite"] = f"{data.size - finite.size} voxels (NaN or infinity)"
    return lines


def _describe_transform(path: Path) -> dict[str, str]:
    from regcore.io.itk import read_transform
    from regcore.transforms import Chain

    steps = Chain((read_transform(path),)).transforms
    lines = {"maps": "points of the fixed space to the moving space, the last part first"}
    for number, step in enumerate(steps, start=1):
        lines |= {f"{number} {key}": value for key, value in _describe_step(step).items()}
    return lines


def _describe_step(step: Transform) -> dict[str, str]:
    import numpy as np

    from regcore.kernels.jacobian import jacobian_determinant
    from regcore.transforms import Affine, Displacement, decompose

    if isinstance(step, Affine):
        parts = decompose(step.matrix)
        angle = np.degrees(np.arccos(np.clip((np.trace(parts.rotation) - 1) / 2, -1, 1)))
        return {
            "affine": f"rotates {angle:.2f} degrees",
            "translation": " ".join(f"{value:.3f}" for value in parts.translation) + " mm",
            "scale": " ".join(f"{value:.4f}" for value in parts.zooms),
            "shear": " ".join(f"{value:.4f}" for value in parts.shears),
        }
    if isinstance(step, Displacement):
        length = np.sqrt((step.to_world() ** 2).sum(axis=-1))
        determinant = jacobian_determinant(step.field)
        return {
            "field": " x ".join(map(str, step.grid.shape))
            + " voxels of "
            + " x ".join(f"{size:g}" for size in step.grid.spacing.round(6))
            + " mm",
            "displaces": f"{length.mean(dtype=np.float64):.3f} mm on average, {length.max():.3f} mm at most",
            "Jacobian": f"{determinant.min():.4f} to {determinant.max():.4f}, "
            f"{int((determinant <= 0).sum())} folded voxels",
        }
    return {"transform": type(step).__name__}
