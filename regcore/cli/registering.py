"""``regcore register`` and ``presets``."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regcore.cli.options import (
    AFFINE_NAMES,
    FIELD_NAMES,
    IMAGE_NAMES,
    PATH,
    check_output,
    quiet_option,
    read_chain,
    threads_option,
    use_threads,
)
from regcore.cli.progress import iteration_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from regcore.image import Image
    from regcore.registration.landmark_term import LandmarkTerm
    from regcore.registration.settings import RegistrationSettings


@click.command()
@click.argument("fixed", type=PATH, help="Image whose grid and anatomy the result takes.")
@click.argument("moving", type=PATH, help="Image that is brought onto it.")
@click.option(
    "--transform",
    "-t",
    type=PATH,
    required=True,
    help="Fixed-to-moving transform to write, .h5 (.txt if linear).",
)
@click.option("--inverse", "-i", type=PATH, help="Moving-to-fixed transform to write.")
@click.option(
    "--warped",
    "-w",
    type=PATH,
    help="Moving image on the fixed grid, to write; rounded to 1e-5 of its range.",
)
@click.option("--preset", "-p", default="default", help="Settings by name; 'regcore presets' lists them.")
@click.option(
    "--settings",
    "-s",
    type=PATH,
    help="YAML file instead of a preset; 'regcore presets NAME' prints one to begin with.",
)
@click.option(
    "--initial",
    type=PATH,
    multiple=True,
    help="Fixed-to-moving transform to start from; of several, the last is first.",
)
@click.option("--fixed-mask", type=PATH, help="Mask on the fixed grid; only voxels inside count.")
@click.option("--moving-mask", type=PATH, help="Mask on the moving grid; only voxels inside count.")
@click.option(
    "--channel",
    "pairs",
    type=(PATH, PATH, float),
    multiple=True,
    metavar="FIXED MOVING WEIGHT",
    help="Further pair of images to match under the same transform, and how much it counts beside the first "
    "(1: as much); FIXED on the first's grid. Can be given several times.",
)
@click.option(
    "--labels",
    type=(PATH, PATH),
    metavar="FIXED MOVING",
    help="Label maps of the two images, matched label to label beside the intensities.",
)
@click.option(
    "--landmarks",
    type=(PATH, PATH, float),
    metavar="FIXED MOVING WEIGHT",
    help="Landmark files of the two images, and the weight of their mean squared distance, per mm² "
    "(0.01: 10 mm count as much as the images).",
)
@click.option(
    "--match-histograms",
    is_flag=True,
    help="Give MOVING the intensities of FIXED first: two scanners, one contrast.",
)
@click.option("--compress", is_flag=True, help="Smaller .h5 files, slower to write.")
@threads_option
@quiet_option
def register(
    fixed: Path,
    moving: Path,
    transform: Path,
    inverse: Path | None,
    warped: Path | None,
    preset: str,
    settings: Path | None,
    initial: tuple[Path, ...],
    fixed_mask: Path | None,
    moving_mask: Path | None,
    pairs: tuple[tuple[Path, Path, float], ...],
    labels: tuple[Path, Path] | None,
    landmarks: tuple[Path, Path, float] | None,
    match_histograms: bool,
    compress: bool,
    threads: int,
    quiet: bool,
) -> None:
    """Register the MOVING image to the FIXED one.

    Linear stages first, then a diffeomorphic one, as the preset or the settings say.

    Beside the transform goes a .json with the similarity before and after, folded voxels, the smallest
    Jacobian determinant, the inverse-consistency error, the settings and every iteration.

    Images that lie far apart or turned need a start: from landmarks, say, matched or set by hand (regcore
    landmarks). All stages go on from it; a field too, which the deformable stage refines.

    Presets and settings say what the images are: whole heads, lungs, crops, other modalities, label maps.
    Beside the images, other pairs of them (a second contrast, a probability map) and label maps can guide the
    registration; every one adds its similarity, times its weight. So can landmarks, by their distance.

    \b
    regcore register fixed.nii.gz moving.nii.gz -t xfm.h5 -i inverse.h5 -w warped.nii.gz
    regcore landmarks match fixed.nii.gz moving.nii.gz -t start.txt
    regcore register fixed.nii.gz moving.nii.gz -t xfm.h5 --initial start.txt
    regcore register t1.nii.gz t2.nii.gz -t t2_to_t1.txt --preset multimodal-rigid
    regcore register a_dseg.nii.gz b_dseg.nii.gz -t xfm.h5 --preset label-map
    regcore register a_t1.nii.gz b_t1.nii.gz -t xfm.h5 --channel a_t2.nii.gz b_t2.nii.gz 0.5
    regcore register a_t1.nii.gz b_t1.nii.gz -t xfm.h5 --labels a_dseg.nii.gz b_dseg.nii.gz
    """
    inputs = [fixed, moving, fixed_mask, moving_mask, settings, *initial, *(labels or ())]
    inputs += landmarks[:2] if landmarks else ()
    inputs += [path for *paths, _ in pairs for path in paths]
    chosen = _settings(preset, settings)
    if match_histograms:
        chosen = replace(chosen, match_histograms=True)
    names = FIELD_NAMES if chosen.deformable else (*FIELD_NAMES, *AFFINE_NAMES)
    sidecar = transform.with_suffix(".json")
    check_output(transform, names, inputs)
    check_output(sidecar, (".json",), inputs)
    if inverse is not None:
        check_output(inverse, names, [*inputs, transform])
    if warped is not None:
        check_output(warped, IMAGE_NAMES, inputs)

    from regcore.io.itk import write_transform
    from regcore.io.nifti import read_image, read_labels, read_mask, write_interpolated
    from regcore.io.tables import write_json
    from regcore.registration import Channel, label_channels
    from regcore.registration.driver import register as run
    from regcore.registration.load import load_kernels
    from regcore.resample import resample

    use_threads(threads)
    loading = threading.Thread(target=load_kernels, args=(chosen,))
    loading.start()
    read: Callable[[Path], Image] = read_labels if chosen.labels else read_image
    fixed_image, moving_image = read(fixed), read(moving)
    channels = [Channel(read_image(one), read_image(other), weight) for one, other, weight in pairs]
    if labels is not None:
        channels += label_channels(read_labels(labels[0]), read_labels(labels[1]))
    loading.join()
    with iteration_progress(quiet) as progress:
        result = run(
            fixed_image,
            moving_image,
            chosen,
            initial=read_chain(initial) if initial else None,
            fixed_mask=None if fixed_mask is None else read_mask(fixed_mask),
            moving_mask=None if moving_mask is None else read_mask(moving_mask),
            progress=progress,
            channels=channels,
            landmarks=None if landmarks is None else _landmark_term(*landmarks, fixed, moving),
        )
    write_transform(transform, result.forward, compression=compress)
    if inverse is not None:
        write_transform(inverse, result.backward, compression=compress)
    if warped is not None:
        how: Any = "label" if chosen.labels else "linear"
        write_interpolated(warped, resample(moving_image, fixed_image.grid, result.forward, how))
    write_json(
        sidecar,
        {
            "Fixed": str(fixed),
            "Moving": str(moving),
            "Channels": [[str(one), str(other), weight] for one, other, weight in pairs],
            "Labels": [str(path) for path in labels or ()],
            "Landmarks": [str(each) for each in landmarks[:2]] + [landmarks[2]] if landmarks else [],
            "Settings": chosen.to_dict(),
            "Seconds": round(result.seconds, 3),
            "Quality": result.quality,
            "Iterations": [row._asdict() for row in result.iterations],
        },
    )
    if not quiet:
        click.echo(_summary(result.quality, result.seconds))


def _landmark_term(
    fixed: Path, moving: Path, weight: float, fixed_image: Path, moving_image: Path
) -> LandmarkTerm:
    from regcore.cli.landmarking import read_pairs
    from regcore.cli.options import Frame
    from regcore.registration.landmark_term import LandmarkTerm

    return LandmarkTerm(*read_pairs(fixed, moving, fixed_image, moving_image, Frame.ras), weight)


@click.command()
@click.argument("name", required=False, help="Preset whose file to print; all are listed if none.")
def presets(name: str | None) -> None:
    """List the presets, or print one.

    A preset is a YAML file that says what it is for and what was measured with it. Printed into a file and
    edited, it serves as settings of your own.

    \b
    regcore presets
    regcore presets mouse > settings.yaml
    regcore register fixed.nii.gz moving.nii.gz -t xfm.h5 --settings settings.yaml
    """
    from regcore.io.tables import read_text
    from regcore.registration.presets import preset_file, preset_names, preset_purpose

    if name is not None:
        click.echo(read_text(preset_file(name)), nl=False)
        return
    names = preset_names()
    width = max(map(len, names))
    for each in names:
        click.echo(f"{each:<{width}}  {preset_purpose(each)}")


def _settings(name: str, path: Path | None) -> RegistrationSettings:
    from regcore.registration import presets

    return presets.preset(name) if path is None else presets.read_settings(path)


def _summary(quality: dict[str, Any], seconds: float) -> str:
    text = (
        f"similarity {quality['similarity_before']:.3f} -> {quality['similarity_after']:.3f}, "
        f"{quality['folded_voxels']} folded voxels"
    )
    if quality.get("inverse_consistency_mean_vox") is not None:
        text += f", inverse consistent to {quality['inverse_consistency_mean_vox']:.3f} voxels"
    for reason in quality["linear_retry_reasons"]:
        text += f"; implausible {reason}"
    return f"{text}, {seconds:.1f} s"
