"""The template: iterations are unrolled, each registers every batch and gathers the partial sums."""


rule template_grid:
    input:
        prepared=prepared(PLAN.keys),
    output:
        f"{WORK}/template/grid.json",
    log:
        f"{LOGS}/template_grid.log",
    benchmark:
        f"{BENCHMARKS}/template_grid/all.tsv"
    conda:
        "environment.yaml"
    resources:
        mem_mb=memory("template_grid/all"),
        runtime=minutes("template_grid/all"),
    params:
        regcore=PLAN.version,
        spacing_mm=STUDY.template.spacing_mm,
        symmetric=STUDY.template.symmetric,
    script:
        "../scripts/template_grid.py"


rule centre_batch:
    input:
        prepared=lambda wildcards: prepared(PLAN.keys_of(wildcards.batch)),
        grid=f"{WORK}/template/grid.json",
    output:
        temp(directory(f"{WORK}/register/00/{{batch}}")),
    log:
        f"{LOGS}/centre_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/centre_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("centre_batch/{batch}"),
        runtime=minutes("centre_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(PLAN.overrides_of(wildcards.batch)),
        overrides=lambda wildcards: PLAN.overrides_of(wildcards.batch),
    script:
        "../scripts/centre_batch.py"


rule register_batch:
    input:
        prepared=lambda wildcards: prepared(PLAN.keys_of(wildcards.batch)),
        previous=lambda wildcards: f"{WORK}/register/{PLAN.before(wildcards.iteration)}/{wildcards.batch}",
        template=lambda wildcards: f"{WORK}/template/{PLAN.before(wildcards.iteration)}",
    output:
        temp(directory(f"{WORK}/register/{{iteration}}/{{batch}}")),
    log:
        f"{LOGS}/register_batch/{{iteration}}_{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/register_batch/{{iteration}}_{{batch}}.tsv"
    wildcard_constraints:
        iteration="|".join(["none", *PLAN.iterations[:-1]]),
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("register_batch/{iteration}_{batch}"),
        runtime=minutes("register_batch/{iteration}_{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.stage(wildcards.iteration),
            STUDY.cohort.channels,
            PLAN.overrides_of(wildcards.batch),
        ),
        stage=lambda wildcards: PLAN.stage(wildcards.iteration),
        channels=STUDY.cohort.channels,
        overrides=lambda wildcards: PLAN.overrides_of(wildcards.batch),
    script:
        "../scripts/register_batch.py"


# the last iteration stays, so that one more iteration can start from it
use rule register_batch as register_last with:
    output:
        directory(f"{WORK}/register/{{iteration}}/{{batch}}"),
    log:
        f"{LOGS}/register_last/{{iteration}}_{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/register_last/{{iteration}}_{{batch}}.tsv"
    wildcard_constraints:
        iteration="|".join(["none", *PLAN.iterations[-1:]]),
    resources:
        mem_mb=memory("register_last/{iteration}_{batch}"),
        runtime=minutes("register_last/{iteration}_{batch}"),


rule gather_template:
    input:
        registered=expand(
            f"{WORK}/register/{{{{iteration}}}}/{{batch}}", batch=PLAN.batches
        ),
        previous=lambda wildcards: [
            f"{WORK}/template/{iteration}"
            for iteration in PLAN.previous_template(wildcards.iteration)
        ],
    output:
        directory(f"{WORK}/template/{{iteration}}"),
    log:
        f"{LOGS}/gather_template/{{iteration}}.log",
    benchmark:
        f"{BENCHMARKS}/gather_template/{{iteration}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("gather_template/{iteration}"),
        runtime=minutes("gather_template/{iteration}"),
    params:
        regcore=PLAN.version,
        stage=lambda wildcards: PLAN.stage_name(wildcards.iteration),
        sharpen=STUDY.template.sharpen,
        stop_mm=STUDY.template.stop_mm,
        symmetric=STUDY.template.symmetric,
        fingerprint=fingerprint(STUDY.qc.judging),
        quality=STUDY.qc.judging,
    script:
        "../scripts/gather_template.py"
