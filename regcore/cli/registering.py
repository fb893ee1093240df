"""``regcore register``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regcore.cli.options import (
    AFFINE_NAMES,
    FIELD_NAMES,
    IMAGE_NAMES,
    Quiet,
    Threads,
    check_output,
    read_chain,
    use_threads,
)
from regcore.cli.progress import iteration_progress
from regcore.errors import InputError

if TYPE_CHECKING:
    from regcore.registration.settings import RegistrationSettings


def register(
    fixed: Annotated[
        Path, typer.Argument(metavar="FIXED", help="Image whose grid and anatomy the result takes.")
    ],
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help="Image that is brought onto it.")],
    transform: Annotated[
        Path,
        typer.Option("--transform", "-t", help="Fixed-to-moving transform to write, .h5 (.txt if linear)."),
    ],
    inverse: Annotated[
        Path | None, typer.Option("--inverse", "-i", help="Moving-to-fixed transform to write.")
    ] = None,
    warped: Annotated[
        Path | None, typer.Option("--warped", "-w", help="Moving image on the fixed grid, to write.")
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            "--preset", "-p", help="Settings: default, rigid, affine, multimodal-rigid, multimodal-affine."
        ),
    ] = "default",
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", "-s", help="YAML file with 'linear' and 'deformable' instead of a preset."
        ),
    ] = None,
    initial: Annotated[
        list[Path] | None,
        typer.Option(
            "--initial", help="Fixed-to-moving transform to start from; of several, the last is first."
        ),
    ] = None,
    fixed_mask: Annotated[
        Path | None, typer.Option(help="Mask on the fixed grid; only voxels inside count.")
    ] = None,
    moving_mask: Annotated[
        Path | None, typer.Option(help="Mask on the moving grid; only voxels inside count.")
    ] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Smaller .h5 files, slower to write.")] = False,
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Register the MOVING image to the FIXED one.

    Linear stages first, then a diffeomorphic one, as the preset or the settings say.

    Beside the transform goes a .json with the similarity before and after, folded voxels, the smallest
    Jacobian determinant, the inverse-consistency error, the settings and every iteration.

    Images that lie far apart or turned need a start: from landmarks, say, matched or set by hand (regcore
    landmarks). All stages go on from it; a field too, which the deformable stage refines.

    \b
    regcore register fixed.nii.gz moving.nii.gz -t xfm.h5 -i inverse.h5 -w warped.nii.gz
    regcore landmarks match fixed.nii.gz moving.nii.gz -t start.txt
    regcore register fixed.nii.gz moving.nii.gz -t xfm.h5 --initial start.txt
    regcore register t1.nii.gz t2.nii.gz -t t2_to_t1.txt --preset multimodal-rigid
    """
    inputs = [fixed, moving, fixed_mask, moving_mask, settings, *(initial or [])]
    chosen = _settings(preset, settings)
    names = FIELD_NAMES if chosen.deformable else (*FIELD_NAMES, *AFFINE_NAMES)
    sidecar = transform.with_suffix(".json")
    check_output(transform, names, inputs)
    check_output(sidecar, (".json",), inputs)
    if inverse is not None:
        check_output(inverse, names, [*inputs, transform])
    if warped is not None:
        check_output(warped, IMAGE_NAMES, inputs)

    from regcore.io.itk import write_transform
    from regcore.io.nifti import read_image, read_mask, write_image
    from regcore.io.tables import write_json
    from regcore.registration.driver import register as run
    from regcore.resample import resample

    use_threads(threads)
    fixed_image, moving_image = read_image(fixed), read_image(moving)
    with iteration_progress(quiet) as progress:
        result = run(
            fixed_image,
            moving_image,
            chosen,
            initial=read_chain(initial) if initial else None,
            fixed_mask=None if fixed_mask is None else read_mask(fixed_mask),
            moving_mask=None if moving_mask is None else read_mask(moving_mask),
            progress=progress,
        )
    write_transform(transform, result.forward, compression=compress)
    if inverse is not None:
        write_transform(inverse, result.backward, compression=compress)
    if warped is not None:
        write_image(warped, resample(moving_image, fixed_image.grid, result.forward))
    write_json(
        sidecar,
        {
            "Fixed": str(fixed),
            "Moving": str(moving),
            "Settings": chosen.to_dict(),
            "Seconds": round(result.seconds, 3),
            "Quality": result.quality,
            "Iterations": [row._asdict() for row in result.iterations],
        },
    )
    if not quiet:
        typer.echo(_summary(result.quality, result.seconds))


def _settings(name: str, path: Path | None) -> RegistrationSettings:
    from regcore.registration.settings import RegistrationSettings
    from regcore.registration.settings import preset as named

    if path is None:
        return named(name)
    import yaml

    from regcore.io.tables import read_text

    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: expected YAML, found a damaged file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected the keys linear and deformable, found {type(content).__name__}")
    try:
        return RegistrationSettings.from_dict(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _summary(quality: dict[str, Any], seconds: float) -> str:
    text = (
        f"similarity {quality['similarity_before']:.3f} -> {quality['similarity_after']:.3f}, "
        f"{quality['folded_voxels']} folded voxels"
    )
    if quality.get("inverse_consistency_mean_vox") is not None:
        text += f", inverse consistent to {quality['inverse_consistency_mean_vox']:.3f} voxels"
    return f"{text}, {seconds:.1f} s"
