"""How well the labels of a template's members agree in its space: the workflow's template and ANTs' own.

Run as ``python -m benchmarks.template FOLDER ITERATIONS NAME=IMAGE...`` it builds ANTs' template and
registers the members to it; a member that is registered already is not registered again.
"""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import asdict
from pathlib import Path

SETTINGS = {
    "type_of_transform": "SyN",
    "syn_metric": "CC",
    "syn_sampling": 2,
    "reg_iterations": (100, 50, 10),
}


def template_row(setup, iterations: int = 3, peer: bool = True):  # type: ignore[no-untyped-def]
    """Build both templates of eight subjects and compare them.

    Parameters
    ----------
    setup : Setup
    iterations : int
        Of ``ants.build_template``, which has no stop of its own.
    peer : bool
        Whether to build ANTs' template.

    Returns
    -------
    DataFrame
        A row a tool: mean Dice over all pairs of members in template space, wall and processor seconds, MiB.
    """
    import pandas

    from benchmarks.data import TEMPLATE_MEMBERS, brains
    from benchmarks.methods import is_installed, version

    members = brains()[:TEMPLATE_MEMBERS]
    rows = [{"method": f"regcore {version('regcore')}", "settings": "workflow", **_ours(members, setup)}]
    settings = f"build_template, {iterations} iterations of SyN, CC radius 2, 100x50x10"
    if peer and is_installed("ants-syn"):
        row = _ants(members, setup, iterations)
        rows.append({"method": f"antspyx {version('ants-syn')}", "settings": settings, **row})
    else:
        rows.append({"method": "antspyx", "settings": "absent" if peer else "not asked for"})
    return pandas.DataFrame(rows)


def pairwise_agreement(labels) -> float:  # type: ignore[no-untyped-def]
    """Mean over all pairs of label maps of their mean Dice."""
    from benchmarks.score import mean_dice

    found = [mean_dice(first, second) for first, second in itertools.combinations(labels, 2)]
    return sum(found) / len(found)


def _ours(members, setup):  # type: ignore[no-untyped-def]
    from benchmarks.measure import measure
    from benchmarks.methods import ROOT, environment
    from benchmarks.pairwise import source_mark
    from regcore.io.nifti import read_labels
    from regcore.io.tables import read_json, write_json, write_text

    folder = setup.work / "template" / f"regcore-{source_mark()}"
    kept = folder / "result.json"
    if kept.exists():
        return read_json(kept)
    lines = ["participant_id\timage\tlabels", *(f"{m.name}\t{m.image}\t{m.labels}" for m in members)]
    write_text(folder / "cohort.tsv", "\n".join(lines) + "\n")
    write_text(folder / "config.yaml", "cohort: {source: cohort.tsv}\ntargets: [template, population]\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--profile", str(ROOT / "profiles" / "default"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml"), "--cores", str(setup.threads)]
    cost = measure(command, environment(setup.threads), folder / "run.log")
    files = sorted((folder / "results").glob("sub-*/anat/*_space-*_dseg.nii.gz"))
    if len(files) != len(members):
        raise RuntimeError(f"{folder / 'results'}: expected labels of {len(members)}, found {len(files)}")
    result = {"dice": pairwise_agreement([read_labels(path) for path in files]), **asdict(cost)}
    write_json(kept, result)
    return result


def _ants(members, setup, iterations):  # type: ignore[no-untyped-def]
    from benchmarks.measure import measure
    from benchmarks.methods import environment
    from benchmarks.reading import ants_transforms
    from regcore.io.nifti import read_grid, read_labels
    from regcore.io.tables import read_json, write_json
    from regcore.resample import resample

    folder = setup.work / "template" / f"ants-{iterations}_threads-{setup.threads}"
    kept = folder / "result.json"
    if kept.exists():
        return read_json(kept)
    folder.mkdir(parents=True, exist_ok=True)
    images = [f"{member.name}={member.image}" for member in members]
    command = [sys.executable, "-m", "benchmarks.template", str(folder), str(iterations), *images]
    cost = measure(command, environment(setup.threads), folder / "run.log")
    grid = read_grid(folder / f"template_iteration-{iterations}.nii.gz")
    # carried as the workflow carries its own, so that only the registrations differ
    carried = [
        resample(read_labels(member.labels), grid, ants_transforms(folder / member.name)[0], "label")
        for member in members
    ]
    result = {"dice": pairwise_agreement(carried), **asdict(cost)}
    write_json(kept, result)
    return result


def build_with_ants(folder: Path, iterations: int, members: dict[str, str]) -> None:
    """Build ANTs' template of images and register each to it.

    Parameters
    ----------
    folder : Path
        Gets ``template_iteration-N.nii.gz`` of every iteration and a folder a member with ANTs' transforms.
    iterations : int
    members : dict of str to str
        Path of the image of each.
    """
    import ants

    images = {name: ants.image_read(path) for name, path in members.items()}
    ants.registration = _resuming(ants)
    template = None
    # one iteration a call, each from the last one's result: the same sums, and a run that was cut off goes on
    for iteration in range(1, iterations + 1):
        file = folder / f"template_iteration-{iteration}.nii.gz"
        if not file.exists():
            work = f"{folder}/iteration-{iteration}"
            template = ants.build_template(
                template, list(images.values()), iterations=1, output_dir=work, **SETTINGS
            )
            ants.image_write(template, f"{folder}/unfinished.nii.gz")
            Path(f"{folder}/unfinished.nii.gz").rename(file)
        # as the file has it, whether it was made now or before
        template = ants.image_read(str(file))
    for name, image in images.items():
        (folder / name).mkdir(exist_ok=True)
        ants.registration(template, image, outprefix=f"{folder / name}/ants_", **SETTINGS)


def _resuming(ants):  # type: ignore[no-untyped-def]
    """``ants.registration`` that takes up what an earlier run has finished under the same prefix."""
    register = ants.registration

    def registration(fixed, moving, outprefix, **settings):  # type: ignore[no-untyped-def]
        forward, warped = (
            [f"{outprefix}1Warp.nii.gz", f"{outprefix}0GenericAffine.mat"],
            f"{outprefix}warped.nii.gz",
        )
        if not Path(warped).exists():
            result = register(fixed, moving, outprefix=outprefix, **settings)
            ants.image_write(result["warpedmovout"], f"{outprefix}unfinished.nii.gz")
            Path(f"{outprefix}unfinished.nii.gz").rename(warped)
        return {"warpedmovout": ants.image_read(warped), "fwdtransforms": forward}

    return registration


if __name__ == "__main__":
    build_with_ants(Path(sys.argv[1]), int(sys.argv[2]), dict(item.split("=", 1) for item in sys.argv[3:]))
    sys.stdout.flush()
    os._exit(0)
