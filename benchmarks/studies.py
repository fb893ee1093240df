"""Whole studies on real images, which several rows look at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.data import data_folder
from benchmarks.methods import ROOT, environment
from benchmarks.pairwise import Setup, source_mark
from regcore.errors import InputError
from regcore.io.tables import read_text, write_text


def study_results(name: str, setup: Setup) -> Path:
    """Results of the workflow with the configuration of this name beside this file, made if missing."""
    folder = setup.work / "studies" / f"{name}-{source_mark()}"
    if not (folder / "results" / "report.html").exists():
        if name == "mouse":
            write_text(folder / "cohort.tsv", mouse_cohort())
        config = read_text(Path(__file__).with_name(f"{name}.yaml"))
        write_text(folder / "config.yaml", config.replace("FOLDER", str(data_folder() / name)))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--profile", str(ROOT / "profiles" / "default"), "--directory", str(folder)]
        command += ["--configfile", str(folder / "config.yaml"), "--cores", str(setup.threads)]
        with (folder / "run.log").open("a") as log:
            environ = {**os.environ, **environment(1)}
            # our own interpreter and module, no shell
            done = subprocess.run(  # noqa: S603
                command, stdout=log, stderr=log, env=environ, check=False
            )
        if done.returncode:
            raise RuntimeError(f"{folder / 'run.log'}: exit code {done.returncode}")
    return folder / "results"


def mouse_cohort() -> str:
    """Table of the mice; ``WT`` at the end of a name is wild type, the others carry the transgene."""
    root = data_folder() / "mouse"
    lines = ["participant_id\timage\tmask\tlabels\tgenotype"]
    for image in sorted((root / "images").glob("*.nii.gz")):
        name = image.name.removesuffix(".nii.gz")
        genotype = "wildtype" if name.endswith("WT") else "transgenic"
        files = [str(root / kind / image.name) for kind in ("images", "masks", "labels")]
        lines.append("\t".join([f"sub-{int(name.split('_')[2]):02d}", *files, genotype]))
    if len(lines) < 2:
        raise InputError(f"{root}: expected images, masks and labels, found none")
    return "\n".join(lines) + "\n"
