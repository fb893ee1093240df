"""What morphometry reads: labels of the template, and smoothed log-Jacobians of every member."""


rule template_labels:
    input:
        population=expand(f"{WORK}/population/{{batch}}", batch=PLAN.batches),
        template=TEMPLATE,
    output:
        str(PLAN.layout.template_labels),
    log:
        f"{LOGS}/template_labels.log",
    benchmark:
        f"{BENCHMARKS}/template_labels/all.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("template_labels/all"),
        runtime=minutes("template_labels/all"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout),
        layout=PLAN.layout,
        names=lambda wildcards: PLAN.label_names_files.get("own"),
    script:
        "../scripts/template_labels.py"


rule morphometry_batch:
    input:
        population=f"{WORK}/population/{{batch}}",
    output:
        directory(f"{WORK}/morphometry/{{batch}}"),
    log:
        f"{LOGS}/morphometry_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/morphometry_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("morphometry_batch/{batch}"),
        runtime=minutes("morphometry_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.morphometry),
        layout=PLAN.layout,
        settings=STUDY.morphometry,
    script:
        "../scripts/morphometry_batch.py"
