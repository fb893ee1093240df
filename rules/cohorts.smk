"""What a cohort is asked beyond its template: what each member does to it."""


rule measure_influence:
    input:
        prepared=expand(f"{WORK}/prepared/{{key}}", key=PLAN.keys),
        population=expand(f"{WORK}/population/{{batch}}", batch=PLAN.batches),
        template=TEMPLATE,
    output:
        directory(f"{WORK}/influence/all"),
    log:
        f"{LOGS}/measure_influence.log",
    benchmark:
        f"{BENCHMARKS}/measure_influence/all.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: PLAN.memory_mb(attempt),
        runtime=lambda wildcards, attempt: PLAN.minutes(attempt),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout),
        layout=PLAN.layout,
        symmetric=STUDY.template.symmetric,
    script:
        "../scripts/measure_influence.py"
