"""Compile every kernel once: a tiny study, from preparing to fusing, in a temporary folder."""

from __future__ import annotations

import itertools
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np

from regcore import __version__
from regcore.image import Image
from regcore.io.cohort import Member
from regcore.io.nifti import read_image, write_image
from regcore.io.tables import write_json
from regcore.kernels.enhance import face_neighbours
from regcore.labels.fuse import FUSIONS
from regcore.registration import DeformableSettings, LinearSettings, RegistrationSettings, register
from regcore.registration.settings import DEFORMABLE_MODELS, REGULARISERS
from regcore.space import Grid
from regcore.statistics import permute
from regcore.study.atlas import atlas_batch
from regcore.study.atlases import Atlas
from regcore.study.carry import Places, register_library
from regcore.study.gather import gather_template
from regcore.study.influence import measure_influence
from regcore.study.manifest import located
from regcore.study.measure import measure_batch
from regcore.study.morphometry import morphometry_batch, template_labels
from regcore.study.outputs import Layout
from regcore.study.population import population_batch
from regcore.study.prepare import prepare_batch
from regcore.study.priors import atlas_priors
from regcore.study.publish import publish_qc, publish_template
from regcore.study.settings import (
    AtlasSettings,
    DatasetSettings,
    MorphometrySettings,
    PopulationSettings,
    PrepareSettings,
    TablesSettings,
    TemplateStage,
)
from regcore.study.template import centre_batch, register_batch, template_grid
from regcore.study.validation import validate_atlas
from regcore.study.weighing import QC

SIZE = 24


def warm_cache(output: Path) -> None:
    """Run a tiny study, so that the jobs that follow find every kernel compiled.

    Parameters
    ----------
    output : Path
        JSON file that says what was compiled for which processor.
    """
    with tempfile.TemporaryDirectory() as folder:
        tiny_study(Path(folder))
    write_json(
        output,
        {
            "regcore": __version__,
            "numba": numba.__version__,
            "processor": platform.processor() or platform.machine(),
        },
    )


def tiny_study(root: Path) -> Layout:
    """Three blobs made into a template, with labels carried between them; returns where the results are."""
    x = np.mgrid[:SIZE, :SIZE, :SIZE].astype(np.float32)
    grid = Grid((SIZE, SIZE, SIZE), np.eye(4))
    members, labels = [], {}
    for number, centre in enumerate((11.0, 11.5, 12.5), start=1):
        distance = np.sqrt(((x - centre) ** 2).sum(axis=0)) + np.sin(x[0] / 2) * np.cos(x[1])
        image = Image(
            (900 * np.exp(-((distance / 7) ** 4)) + 100 * np.exp(-distance)).astype(np.float32), grid
        )
        member = Member(f"{number}", None, root / f"{number}.nii.gz")
        write_image(member.image, image)
        labels[member.key] = str(root / f"{number}_dseg.nii.gz")
        write_image(labels[member.key], Image((distance < 6).astype(np.int32) + (distance < 3), grid))
        members.append(member)
    layout = Layout(root / "results")
    work = layout.work
    linear = tuple(
        LinearSettings(model=model, metric=metric, shrink=(2,), iterations=(2,), rotations_deg=0)
        for model, metric in (("rigid", "ncc"), ("affine", "mi"), ("affine", "mind"))
    )
    stages = [
        TemplateStage("affine", 1, RegistrationSettings(linear=linear, deformable=None)),
        TemplateStage(
            "deformable", 1, RegistrationSettings((), DeformableSettings(shrink=(2, 1), iterations=(2, 2)))
        ),
    ]
    prepared, grid_file = [work / "prepared" / member.key for member in members], work / "grid.json"
    for member, folder in zip(members, prepared, strict=True):
        prepare_batch([member], folder, PrepareSettings())
    template_grid(prepared, grid_file, None)
    registered, template = work / "register" / "00", work / "template" / "00"
    centre_batch(prepared, grid_file, registered)
    gather_template([registered], [], template, 0, "centre", True, 0.05)
    for number, stage in enumerate(stages, start=1):
        before, last = registered, template
        registered, template = work / "register" / f"{number:02d}", work / "template" / f"{number:02d}"
        register_batch(prepared, before, last, registered, stage)
        gather_template([registered], [last], template, number, stage.name, True, 0.05)
    population, weights = work / "population" / "all", layout.results / QC
    publish_qc(template, weights)
    for interpolation in ("linear", "cubic"):
        settings = PopulationSettings(interpolation)
        population_batch(prepared, registered, template, weights, population, layout, labels, None, settings)
    publish_template([population], template, layout.published(), layout, DatasetSettings())
    _label(members, labels, Places.of(layout, prepared, [population]), stages[1].registration)
    template_labels([population], layout, layout.template_labels, None)
    morphometry_batch(population, work / "morphometry" / "all", layout, MorphometrySettings())
    measure_influence(prepared, [population], work / "influence" / "all", layout)
    measured, fused = work / "measured" / "all", [work / "atlas" / "all"]
    regions, plain = {"own": layout.template_labels}, TablesSettings()
    measure_batch(
        prepared, population, fused, measured, layout, labels, {}, regions, "Cohort", plain, "neurological"
    )
    _test_means()
    fixed, moving = (read_image(member.image) for member in members[:2])
    for regulariser, model in zip(REGULARISERS, itertools.cycle(DEFORMABLE_MODELS[1:]), strict=False):
        chosen = DeformableSettings("mi", model=model, regulariser=regulariser, shrink=(2,), iterations=(2,))
        register(fixed, moving, RegistrationSettings((), chosen))
    return layout


def _test_means() -> None:
    """Permute a design of two columns in a few voxels."""
    inside = np.ones((3, 3, 3), np.bool_)
    values = np.random.default_rng(0).normal(size=(6, inside.sum())).astype(np.float32)
    matrix = np.stack([np.ones(6), np.arange(6.0)], axis=1)
    permute(matrix, values, np.array([0.0, 1.0]), 3, face_neighbours(inside))


def _label(
    members: Sequence[Member], labels: Mapping[str, str], places: Places, registration: RegistrationSettings
) -> None:
    """Two atlases onto the template, each other and the third member, in every way and by every fusion."""
    atlases = [Atlas(member.key, member.image, Path(labels[member.key]), True) for member in members[:2]]
    last, work, layout = members[2].key, places.layout.work, places.layout
    settings = AtlasSettings(registration=registration)
    through = replace(settings, route="template_library")
    library = work / "template_library" / last
    register_library(last, atlases, places, library, through)
    beyond = replace(places, library=located([library]))
    validate_atlas(
        atlases[0].key, atlases, beyond, work / "validation" / atlases[0].key, None, through, FUSIONS
    )
    atlas_priors(atlases, places, layout.priors(settings.name), None, settings)
    for fusion in FUSIONS:
        atlas_batch([last], atlases, places, work / "atlas" / "all", None, replace(settings, fusion=fusion))
