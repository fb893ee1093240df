"""What is published of every member, and the template that all of them average to."""


# the weights that the build reads, in the open
rule publish_qc:
    input:
        template=f"{WORK}/template/{PLAN.last}",
    output:
        report(
            f"{RESULTS}/qc.tsv",
            caption="captions/qc.rst",
            category="Study",
            labels={"what": "weights and measures of every member"},
        ),
    log:
        f"{LOGS}/publish_qc.log",
    benchmark:
        f"{BENCHMARKS}/publish_qc/all.tsv"
    conda:
        "environment.yaml"
    resources:
        mem_mb=memory("publish_qc/all"),
        runtime=minutes("publish_qc/all"),
    params:
        regcore=PLAN.version,
    script:
        "../scripts/publish_qc.py"


rule population_batch:
    input:
        prepared=lambda wildcards: prepared(PLAN.keys_of(wildcards.batch)),
        registered=f"{WORK}/register/{PLAN.last}/{{batch}}",
        template=f"{WORK}/template/{PLAN.last}",
        weights=f"{RESULTS}/qc.tsv",
        labels=lambda wildcards: fetched(PLAN.labels_of(wildcards.batch)),
    output:
        directory(f"{WORK}/population/{{batch}}"),
    log:
        f"{LOGS}/population_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/population_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("population_batch/{batch}"),
        runtime=minutes("population_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.population),
        layout=PLAN.layout,
        labels=lambda wildcards: PLAN.labels_by_member(wildcards.batch),
        names=lambda wildcards: PLAN.label_names_files.get("own"),
        settings=STUDY.population,
    script:
        "../scripts/population_batch.py"


rule publish_template:
    input:
        population=expand(f"{WORK}/population/{{batch}}", batch=PLAN.batches),
        template=f"{WORK}/template/{PLAN.last}",
    output:
        **PUBLISHED,
    log:
        f"{LOGS}/publish_template.log",
    benchmark:
        f"{BENCHMARKS}/publish_template/all.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("publish_template/all"),
        runtime=minutes("publish_template/all"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.dataset, PLAN.strata),
        layout=PLAN.layout,
        dataset=STUDY.dataset,
        strata=PLAN.strata,
        symmetric=STUDY.template.symmetric,
    script:
        "../scripts/publish_template.py"
