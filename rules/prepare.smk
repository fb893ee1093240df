"""Every image on its own: screened, masked, intensities brought to one scale."""


rule warm_cache:
    output:
        f"{WORK}/warm_cache.json",
    log:
        f"{LOGS}/warm_cache.log",
    benchmark:
        f"{BENCHMARKS}/warm_cache/all.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        regcore=PLAN.version,
    script:
        "../scripts/warm_cache.py"


rule prepare_batch:
    input:
        images=lambda wildcards: PLAN.images_of(wildcards.batch),
        cache=WARM,
    output:
        directory(f"{WORK}/prepared/{{batch}}"),
    log:
        f"{LOGS}/prepare_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: PLAN.memory_mb(attempt),
        runtime=lambda wildcards, attempt: PLAN.minutes(attempt),
    params:
        regcore=PLAN.version,
        members=lambda wildcards: PLAN.members_of(wildcards.batch),
        settings=STUDY.prepare,
    script:
        "../scripts/prepare_batch.py"
