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
        layout=PLAN.layout,
        settings=STUDY.prepare,
        registration=STUDY.atlas.library_registration,
    script:
        "../scripts/prepare_atlas.py"


rule atlas_batch:
    input:
        prepared=f"{WORK}/prepared/{{batch}}",
        population=f"{WORK}/population/{{batch}}" if STUDY.atlas.needs_template else [],
        atlases=PLAN.atlas_folders(WORK),
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
        layout=PLAN.layout,
        names=PLAN.label_names_files.get("atlas"),
        atlases=PLAN.atlases,
        members=lambda wildcards: PLAN.labelled_members(wildcards.batch),
        settings=STUDY.atlas,
    script:
        "../scripts/atlas_batch.py"
