"""Groupwise registration of a population of images: see README.md for how to use it, config.yaml for every setting."""

from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config.yaml"


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/prepare.smk"
include: "rules/template.smk"
include: "rules/population.smk"
include: "rules/sessions.smk"


if PLAN.given:

    include: "rules/given.smk"


include: "rules/cohorts.smk"
include: "rules/atlas.smk"
include: "rules/pairwise.smk"
include: "rules/morphometry.smk"
include: "rules/tables.smk"
include: "rules/statistics.smk"
include: "rules/report.smk"


if STUDY.upload_to:

    include: "rules/upload.smk"


# targets, and what takes a moment and need not wait in a cluster's queue
localrules:
    publish_qc,
    list_quarantine,
    describe_dataset,
    collect_runtime,
    check_strict,
    all,
    pairwise,
    template,
    population,
    sessions,
    atlas,
    tables,
    statistics,
    report,


rule all:
    default_target: True
    input:
        EVERYTHING,
        rules.upload_results.output if STUDY.upload_to else [],
        STRICT,


rule pairwise:
    input:
        asked("pairwise", PAIRWISE),


rule template:
    input:
        TEMPLATE,


rule population:
    input:
        POPULATION,


rule sessions:
    input:
        asked("sessions", SESSIONS),


rule atlas:
    input:
        asked("atlas", ATLAS),


rule tables:
    input:
        TABLES,


rule statistics:
    input:
        asked("statistics", STATISTICS),


rule report:
    input:
        f"{RESULTS}/report.html",
