"""What a cohort is asked beyond its template: what each member does to it."""


rule measure_influence:
    input:
        prepared=prepared(PLAN.keys),
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
        mem_mb=memory("measure_influence/all"),
        runtime=minutes("measure_influence/all"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout),
        layout=PLAN.layout,
        symmetric=STUDY.template.symmetric,
    script:
        "../scripts/measure_influence.py"


rule stratum_template:
    input:
        prepared=prepared(PLAN.keys),
        population=expand(f"{WORK}/population/{{batch}}", batch=PLAN.batches),
        template=TEMPLATE,
    output:
        **{name: str(path) for name, path in PLAN.layout.stratum("{number}").items()},
        folder=directory(f"{WORK}/strata/{{number}}"),
    log:
        f"{LOGS}/stratum_template/{{number}}.log",
    benchmark:
        f"{BENCHMARKS}/stratum_template/{{number}}.tsv"
    wildcard_constraints:
        number=r"\d+",
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("stratum_template/{number}"),
        runtime=minutes("stratum_template/{number}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.layout, PLAN.strata[int(wildcards.number) - 1]
        ),
        layout=PLAN.layout,
        stratum=lambda wildcards: PLAN.strata[int(wildcards.number) - 1],
        symmetric=STUDY.template.symmetric,
    script:
        "../scripts/stratum_template.py"
