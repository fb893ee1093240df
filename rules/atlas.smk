"""Labels carried from atlases to the members and fused."""


rule prepare_atlas:
    input:
        image=lambda wildcards: PLAN.library_atlas(wildcards.atlas).image,
        template=TEMPLATE if STUDY.atlas.needs_template else [],
        cache=WARM,
    output:
        directory(f"{WORK}/library/{{atlas}}"),
    log:
        f"{LOGS}/prepare_atlas/{{atlas}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_atlas/{{atlas}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: PLAN.memory_mb(attempt),
        runtime=lambda wildcards, attempt: PLAN.minutes(attempt),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(
            PLAN.layout, STUDY.prepare, STUDY.atlas.library_registration
        ),
        layout=PLAN.layout,
        settings=STUDY.prepare,
        registration=STUDY.atlas.library_registration,
    script:
        "../scripts/prepare_atlas.py"


rule atlas_batch:
    input:
        prepared=lambda wildcards: [
            f"{WORK}/{folder}" for folder in PLAN.atlas_prepared(wildcards.batch)
        ],
        population=lambda wildcards: expand(
            f"{WORK}/population/{{batch}}",
            batch=PLAN.atlas_population(wildcards.batch),
        ),
        labels=[str(atlas.labels) for atlas in PLAN.atlases],
    output:
        directory(f"{WORK}/atlas/{{batch}}"),
    log:
        f"{LOGS}/atlas_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/atlas_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: PLAN.memory_mb(attempt),
        runtime=lambda wildcards, attempt: PLAN.minutes(attempt, len(PLAN.atlases)),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.atlas),
        layout=PLAN.layout,
        names=PLAN.label_names_files.get("atlas"),
        atlases=PLAN.atlases,
        members=lambda wildcards: PLAN.atlas_batches[wildcards.batch],
        settings=STUDY.atlas,
    script:
        "../scripts/atlas_batch.py"
