"""Plan of the study and the paths that several rule files share."""

import os
import re
import sys

# the scripts find regcore beside this workflow, installed or not
sys.path.insert(0, workflow.basedir)
os.environ.update(
    PYTHONPATH=os.pathsep.join(sys.path[:1] + [os.getenv("PYTHONPATH", "")]).strip(
        os.pathsep
    )
)

from regcore.errors import InputError
from regcore.io.limits import set_largest_image
from regcore.study import Plan, fingerprint

STORED = {}


def stored(address):
    """Local copy of an object in a store; Snakemake fetches it for the rules that name it."""
    path = storage(address)
    STORED[str(path)] = path
    return str(path)


def fetched(files):
    """Files as inputs of a rule, objects in a store by their address."""
    return [STORED.get(str(file), file) for file in files]


try:
    PLAN = Plan.from_config(config, stored)
    if workflow.is_main_process:
        PLAN.check_designs()
except InputError as error:
    sys.exit(str(error))

STUDY = PLAN.study
set_largest_image(STUDY.largest_image_gb)
RESULTS = STUDY.results
WORK = f"{RESULTS}/work"
LOGS = f"{WORK}/logs"
BENCHMARKS = f"{WORK}/benchmarks"
WARM = ancient(f"{WORK}/warm_cache.json")
PUBLISHED = {name: str(path) for name, path in PLAN.layout.published().items()}
TEMPLATE = PUBLISHED["description"]
POPULATION = [
    TEMPLATE,
    *(f"{WORK}/{folder}" for folder in PLAN.folders("population", "morphometry")),
]
PRIORS = {
    name: str(path) for name, path in PLAN.layout.priors(STUDY.atlas.name).items()
}
SESSIONS = [
    f"{WORK}/{folder}"
    for folder in PLAN.folders("sessions", "chained", "propagated", "accumulated")
]
ATLAS = [
    *(f"{WORK}/{folder}" for folder in PLAN.folders("atlas")),
    *(PRIORS.values() if PLAN.makes_priors else []),
]
PAIRWISE = [f"{WORK}/{folder}" for folder in PLAN.folders("pairwise")]
STATISTICS = [f"{RESULTS}/statistics/{name}" for name in PLAN.designs]
TABLES = [f"{RESULTS}/tables/{name}.tsv" for name in PLAN.tables]
EVERYTHING = [
    path
    for target, paths in {
        "pairwise": PAIRWISE,
        "template": [
            TEMPLATE,
            *(f"{WORK}/{folder}" for folder in PLAN.folders("strata")),
        ],
        "population": POPULATION,
        "sessions": SESSIONS,
        "atlas": ATLAS,
        "tables": [*TABLES, f"{RESULTS}/tables/runtime.tsv"],
        "statistics": STATISTICS,
        "report": [f"{RESULTS}/report.html"],
    }.items()
    if target in STUDY.targets
    for path in paths
] + [f"{RESULTS}/dataset_description.json", f"{RESULTS}/quarantine.tsv"]
STRICT = [f"{WORK}/strict.json"] if STUDY.strict else []


def asked(target, paths):
    """Inputs of a target's rule; what only the configuration can ask for is refused where it does not."""

    def refuse(wildcards):
        raise InputError(
            f"config targets: expected {target} among them, found {', '.join(STUDY.targets)}"
        )

    return paths if target in STUDY.targets else refuse


def prepared(keys):
    """Folders of the prepared images of these members."""
    return [f"{WORK}/{folder}" for folder in PLAN.prepared(keys)]


def memory(job):
    """Resource function: memory of a job, named by rule and wildcards as its benchmark file is."""
    return lambda wildcards, attempt: PLAN.memory_mb(job.format(**wildcards), attempt)


def minutes(job):
    """Resource function: run time of a job, named by rule and wildcards as its benchmark file is."""
    return lambda wildcards, attempt: PLAN.minutes(job.format(**wildcards), attempt)


wildcard_constraints:
    batch=r"[A-Za-z0-9+_-]+",
    key=r"[A-Za-z0-9+_-]+",
    design=r"[A-Za-z0-9]+",
    iteration=r"\d\d",
    atlas=r"atlas-[A-Za-z0-9]+",
    subject=r"sub-[A-Za-z0-9+]+",
