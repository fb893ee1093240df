"""Every job of a study, from nothing to the report, with what it is expected to take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from regcore.study.planning.costs import MODEL_BYTES, RATES, SMALL, Cost, registration_microseconds
from regcore.study.settings import TemplateStage

if TYPE_CHECKING:
    from regcore.study.plan import Plan

ALL = "all"
CONTRASTS = 4
SECONDS_PER_PERMUTATION = 1.0
"""Of a map of a million voxels."""
STATISTICS_BYTES = 10
"""Of the statistics, a voxel and member."""
VOTE_BYTES, VOTES_AT_ONCE = 8, 2**26
"""Of a label that is counted; how many are at a time."""
SHEET_MB, SHEET_SECONDS = 1.0, 0.15
"""Of a member in the report."""
CHANNEL_BYTES, DESCRIPTOR_BYTES = 60, 130
"""A voxel: of a further image; of the descriptors of ``mind``."""
CANDIDATE_BYTES = 12


def job_costs(plan: Plan) -> dict[str, Cost]:
    """Cost of every job, by rule and job as benchmark files are named: ``register_batch/01_b0001``."""
    found: dict[str, Cost] = {"warm_cache/all": RATES["warm_cache"].cost(0)}
    channels = len(plan.study.cohort.channels)
    for batch, images in plan.prepared_batches.items():
        found[f"prepare_batch/{batch}"] = RATES["prepare_batch"].cost(
            plan.voxels, len(images) * (1 + channels), 20 if plan.study.prepare.n4 else 0
        )
    if plan.uses_template:
        found |= dict(_template(plan))
    found |= dict(_sessions(plan)) | dict(_labelling(plan))
    for batch, pairs in plan.pair_batches.items():
        more = registration_microseconds(plan.study.pairwise.registration, min(plan.largest.spacing))
        found[f"pairwise_batch/{batch}"] = RATES["pairwise_batch"].cost(plan.voxels, len(pairs), more)
    if plan.measured:
        for batch, members in plan.batches.items():
            found[f"measure_batch/{batch}"] = RATES["measure_batch"].cost(plan.template_voxels, len(members))
    for design in plan.designs:
        found[f"statistics_design/{design}"] = _statistics(plan)
    if plan.tables:
        found["collect_tables/all"] = _gathering(plan, 1.0)
        found["collect_runtime/all"] = _gathering(plan, 0.8)
    found["list_quarantine/all"] = _gathering(plan)
    if "report" in plan.study.targets:
        shown = RATES["make_report"].cost(plan.template_voxels)
        count = len(plan.members)
        found["make_report/all"] = Cost(
            shown.seconds + SHEET_SECONDS * count, shown.memory_mb + SHEET_MB * count
        )
    return found


def _gathering(plan: Plan, more_seconds: float = 0) -> Cost:
    """Of a job that reads what a study says of each image."""
    images = len(plan.images)
    return Cost(SMALL.seconds + more_seconds + 0.01 * images, SMALL.megabytes + 0.05 * images)


def _register(plan: Plan, stage: TemplateStage, voxels: float, images: int) -> Cost:
    settings, channels = stage.registration, plan.study.cohort.channels
    rate = RATES["register_linear" if settings.deformable is None else "register_deformable"]
    metrics = {each.metric for each in (*settings.linear, settings.deformable) if each is not None}
    metrics |= {channel.metric for channel in channels.values() if channel.metric}
    further = CHANNEL_BYTES * len(channels) + DESCRIPTOR_BYTES * ("mind" in metrics)
    further += 0 if settings.deformable is None else MODEL_BYTES[settings.deformable.model]
    rate = replace(rate, bytes_per_voxel=rate.bytes_per_voxel + further)
    more = registration_microseconds(settings, min(plan.largest.spacing), len(channels))
    return rate.cost(voxels, images, more)


def _template(plan: Plan) -> Iterator[tuple[str, Cost]]:
    """Of the template, and what is made with it of every member."""
    voxels, members, batches = plan.template_voxels, len(plan.members), len(plan.batches)
    given = plan.study.template.given is not None
    frozen = plan.study.template.frozen is not None
    gathers = 1 + batches / 20
    if given:
        yield "given_template/all", RATES["publish_template"].cost(voxels)
    else:
        yield "template_grid/all", RATES["template_grid"].cost(0)
        yield "gather_template/00", RATES["gather_first"].cost(voxels, gathers)
    for batch, each in plan.batches.items():
        start = RATES["centre_batch"].cost(voxels, len(each))
        yield f"{'start' if given else 'centre'}_batch/{batch}", start
        for iteration in plan.iterations:
            rule = "register_last" if iteration == plan.last else "register_batch"
            yield f"{rule}/{iteration}_{batch}", _register(plan, plan.stage(iteration), voxels, len(each))
        for rule in ("population_batch", "morphometry_batch"):
            yield f"{rule}/{batch}", RATES[rule].cost(voxels, len(each))
    for iteration in plan.iterations:
        held = iteration in plan.held_iterations
        linear = plan.stage(iteration).registration.deformable is None
        rate = RATES["gather_linear" if linear else "gather_template"]
        yield f"{'hold' if held else 'gather'}_template/{iteration}", rate.cost(voxels, gathers)
    yield "publish_qc/all", SMALL.cost(0)
    publish = RATES["publish_template"].cost(voxels, gathers)
    yield f"publish_{'given' if frozen else 'template'}/all", publish
    if plan.measures_influence:
        yield "measure_influence/all", RATES["measure_influence"].cost(voxels, members)
    for stratum in plan.strata:
        yield f"stratum_template/{stratum.number}", RATES["stratum_template"].cost(voxels, members)
    if plan.has_labels:
        votes = min(members * voxels, VOTES_AT_ONCE + voxels) * VOTE_BYTES / 1e6
        cost = RATES["template_labels"].cost(voxels, members)
        yield "template_labels/all", replace(cost, memory_mb=cost.memory_mb + votes)


def _labelling(plan: Plan) -> Iterator[tuple[str, Cost]]:
    """Of atlases and what they label."""
    settings = plan.study.atlas
    finest, voxels = min(plan.largest.spacing), plan.voxels
    carry = 0.0 if settings.route == "template" else registration_microseconds(settings.registration, finest)

    def labelling(rule: str, images: int, ways: int) -> Cost:
        rate = RATES[rule]
        more = CANDIDATE_BYTES * plan.candidates
        rate = replace(rate, bytes_per_voxel=rate.bytes_per_voxel + more)
        return rate.cost(voxels, images * ways, carry)

    for atlas in plan.library:
        onto = registration_microseconds(settings.library_registration, finest)
        yield f"prepare_atlas/{atlas.key}", RATES["pairwise_batch"].cost(voxels, 1, onto)
    for key in plan.template_library:
        yield f"register_library/{key}", labelling("atlas_batch", 1, len(plan.atlases))
    for batch, keys in plan.atlas_batches.items():
        yield f"atlas_batch/{batch}", labelling("atlas_batch", len(keys), plan.ways)
    for key in plan.validated_atlases:
        yield f"validate_atlas/{key}", labelling("validate_atlas", 1, max(plan.ways - 1, 1))
    if plan.makes_priors:
        rate = RATES["atlas_priors"]
        rate = replace(rate, bytes_per_voxel=rate.bytes_per_voxel + CANDIDATE_BYTES * len(plan.atlases))
        yield "atlas_priors/all", rate.cost(plan.template_voxels, len(plan.atlases))


def _sessions(plan: Plan) -> Iterator[tuple[str, Cost]]:
    """Of subjects with several sessions."""
    voxels = plan.voxels
    for name, subject in plan.subjects.items():
        sessions = len(subject.keys)
        if subject.is_averaged:
            yield f"subject_grid/{name}", SMALL.cost(0)
            yield f"subject_centre/{name}", RATES["centre_batch"].cost(voxels, sessions)
            for iteration in plan.session_iterations:
                rule = "subject_register_last" if iteration == plan.last_session else "subject_register"
                stage = plan.stage(iteration, plan.study.sessions)
                yield f"{rule}/{iteration}_{name}", _register(plan, stage, voxels, sessions)
            for iteration in ["00", *plan.session_iterations]:
                yield f"subject_gather/{iteration}_{name}", RATES["gather_template"].cost(voxels)
            yield f"subject_sessions/{name}", RATES["population_batch"].cost(voxels, sessions)
            yield f"subject_template/{name}", RATES["publish_template"].cost(voxels)
        elif not subject.is_image:
            yield f"pass_session/{name}", SMALL.cost(0)
        for rule, asked in _followed(plan, bool(subject.maps)):
            if asked:
                yield f"{rule}/{name}", RATES["population_batch"].cost(voxels, sessions)


def _followed(plan: Plan, maps: bool) -> Sequence[tuple[str, bool]]:
    return (
        ("chain_sessions", plan.uses_template),
        ("propagate_labels", True),
        ("accumulate_maps", maps),
        ("measure_sessions", True),
    )


def _statistics(plan: Plan) -> Cost:
    """Of a design: all members' maps twice, and what a batch of permutations takes."""
    settings, million = plan.study.statistics, plan.template_voxels / 1e6
    rate = RATES["statistics_design"]
    permuting = CONTRASTS * SECONDS_PER_PERMUTATION * settings.permutations * million
    memory = rate.cost(plan.template_voxels).memory_mb + STATISTICS_BYTES * len(plan.members) * million
    return Cost(rate.seconds + permuting, memory)
