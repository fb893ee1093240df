"""Runs of the whole workflow, as a user starts it, on a made cohort small enough to finish in a minute."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from regcore.image import Image
from regcore.io.nifti import write_image
from regcore.space import Grid

ROOT = Path(__file__).parents[1]
SIZE = 26


def write_head(path: Path, seed: int) -> None:
    """A small round head with two structures, and its labels beside it."""
    generator = np.random.default_rng(seed)
    x = np.mgrid[:SIZE, :SIZE, :SIZE].astype(np.float32)
    centre = 12.5 + generator.uniform(-1, 1, 3)
    stretch = 1 + generator.uniform(-0.1, 0.1, 3)
    scaled = (x - centre[:, None, None, None]) / stretch[:, None, None, None]
    radius = np.sqrt((scaled**2).sum(axis=0)) + 0.5 * np.sin(scaled[0] / 2 + generator.uniform(0, 1))
    image = (
        400 * (radius < 8) + 300 * (radius < 5) + 200 * (radius < 2.5) + generator.normal(0, 10, x.shape[1:])
    )
    grid = Grid((SIZE, SIZE, SIZE), np.diag([2.0, 2.0, 2.0, 1.0]))
    write_image(path, Image(image.astype(np.float32), grid))
    write_image(labels_of(path), Image((radius < 5).astype(np.int32) + (radius < 2.5), grid))


def labels_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".nii.gz", "_dseg.nii.gz"))


def write_cohort(folder: Path, members: list[str]) -> Path:
    """Table of the members, whose images are made where they are missing."""
    rows = ["participant_id\timage\tlabels\tage"]
    for number, name in enumerate(members):
        image = folder / f"{name}.nii.gz"
        if not image.exists():
            write_head(image, number)
        rows.append(f"sub-{name}\t{image.name}\t{labels_of(image).name}\t{30 + number}")
    table = folder / "cohort.tsv"
    table.write_text("\n".join(rows) + "\n")
    return table


def config_for(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "cohort": {"source": str(folder / "cohort.tsv")},
        "results": "results",
        "targets": ["template", "population", "atlas", "tables", "report"],
        "batch_size": 3,
        "template": {
            "name": "Tiny",
            "stages": [
                {"name": "affine", "linear": [{"shrink": [2], "iterations": [10], "rotations_deg": 0}]},
                {"name": "deformable", "deformable": {"shrink": [2, 1], "iterations": [10, 5]}},
            ],
        },
        "atlas": {"participants": ["a", "b"]},
        **more,
    }


def arguments(folder: Path, config: dict[str, Any], *extra: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
    ]
    return [*command, "--configfile", str(folder / "config.yaml"), *(extra or ("--cores", "2"))]


def snakemake(folder: Path, config: dict[str, Any], *extra: str) -> subprocess.CompletedProcess[str]:
    command = arguments(folder, config, *extra)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def planned(folder: Path, config: dict[str, Any]) -> dict[str, int]:
    """How many jobs of each rule a run would start."""
    found = snakemake(folder, config, "--dry-run")
    assert found.returncode == 0, found.stdout + found.stderr
    rows = re.findall(r"^([a-z_]+) +(\d+)$", found.stdout, re.MULTILINE)
    return {rule: int(count) for rule, count in rows}


def digests(results: Path) -> dict[str, str]:
    """Digest of every published file whose content does not depend on the clock."""
    files = [file for file in sorted(results.rglob("*")) if file.is_file()]
    return {
        str(file.relative_to(results)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if "work" not in file.parts and file.name not in ("runtime.tsv", "report.html")
    }
