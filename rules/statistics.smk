"""What differs between the members: voxel by voxel and structure by structure, a job a design."""


rule statistics_design:
    input:
        morphometry=[f"{WORK}/{folder}" for folder in PLAN.folders("morphometry")],
        template=TEMPLATE,
        regions=list(PLAN.template_labels.values()),
        tables=TABLES,
    output:
        directory(f"{RESULTS}/statistics/{{design}}"),
    log:
        f"{LOGS}/statistics_design/{{design}}.log",
    benchmark:
        f"{BENCHMARKS}/statistics_design/{{design}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("statistics_design/{design}"),
        runtime=minutes("statistics_design/{design}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.layout, PLAN.statistics_of(wildcards.design)
        ),
        layout=PLAN.layout,
        regions=PLAN.template_labels,
        covariates=PLAN.covariates(),
        settings=lambda wildcards: PLAN.statistics_of(wildcards.design),
    script:
        "../scripts/statistics_design.py"
