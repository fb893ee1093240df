"""Images registered to each other two by two."""


rule pairwise_batch:
    input:
        prepared=lambda wildcards: prepared(PLAN.pair_members(wildcards.batch)),
        files=lambda wildcards: PLAN.pair_files(wildcards.batch),
        cache=WARM,
    output:
        directory(f"{WORK}/pairwise/{{batch}}"),
    log:
        f"{LOGS}/pairwise_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/pairwise_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("pairwise_batch/{batch}"),
        runtime=minutes("pairwise_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.prepare, STUDY.pairwise.registration),
        layout=PLAN.layout,
        pairs=lambda wildcards: PLAN.pair_batches[wildcards.batch],
        prepare=STUDY.prepare,
        settings=STUDY.pairwise.registration,
    script:
        "../scripts/pairwise_batch.py"
