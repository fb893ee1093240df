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
        mem_mb=memory("prepare_atlas/{atlas}"),
        runtime=minutes("prepare_atlas/{atlas}"),
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


rule register_library:
    input:
        prepared=lambda wildcards: [
            f"{WORK}/{folder}" for folder in PLAN.atlas_prepared([wildcards.key])
        ],
        population=lambda wildcards: [
            f"{WORK}/{folder}" for folder in PLAN.atlas_population([wildcards.key])
        ],
    output:
        directory(f"{WORK}/template_library/{{key}}"),
    log:
        f"{LOGS}/register_library/{{key}}.log",
    benchmark:
        f"{BENCHMARKS}/register_library/{{key}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("register_library/{key}"),
        runtime=minutes("register_library/{key}"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.atlas.carrying),
        layout=PLAN.layout,
        atlases=PLAN.atlases,
        settings=STUDY.atlas.carrying,
    script:
        "../scripts/register_library.py"


rule atlas_batch:
    input:
        prepared=lambda wildcards: [
            f"{WORK}/{folder}"
            for folder in PLAN.atlas_prepared(PLAN.atlas_batches[wildcards.batch])
        ],
        population=lambda wildcards: [
            f"{WORK}/{folder}"
            for folder in PLAN.atlas_population(PLAN.atlas_batches[wildcards.batch])
        ],
        library=[f"{WORK}/{folder}" for folder in PLAN.folders("template_library")],
        labels=fetched(PLAN.atlas_labels),
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
        mem_mb=memory("atlas_batch/{batch}"),
        runtime=minutes("atlas_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.atlas.labelling),
        layout=PLAN.layout,
        names=lambda wildcards: PLAN.label_names_files.get("atlas"),
        atlases=PLAN.atlases,
        members=lambda wildcards: PLAN.atlas_batches[wildcards.batch],
        settings=STUDY.atlas.labelling,
    script:
        "../scripts/atlas_batch.py"


rule validate_atlas:
    input:
        prepared=lambda wildcards: [
            f"{WORK}/{folder}" for folder in PLAN.atlas_prepared([wildcards.key])
        ],
        population=lambda wildcards: [
            f"{WORK}/{folder}" for folder in PLAN.atlas_population([wildcards.key])
        ],
        library=[f"{WORK}/{folder}" for folder in PLAN.folders("template_library")],
        labels=fetched(PLAN.atlas_labels),
    output:
        directory(f"{WORK}/validation/{{key}}"),
    log:
        f"{LOGS}/validate_atlas/{{key}}.log",
    benchmark:
        f"{BENCHMARKS}/validate_atlas/{{key}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("validate_atlas/{key}"),
        runtime=minutes("validate_atlas/{key}"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.atlas),
        layout=PLAN.layout,
        names=lambda wildcards: PLAN.label_names_files.get("atlas"),
        atlases=PLAN.atlases,
        settings=STUDY.atlas.labelling,
        methods=STUDY.atlas.validated,
    script:
        "../scripts/validate_atlas.py"


rule atlas_priors:
    input:
        prepared=[f"{WORK}/{folder}" for folder in PLAN.atlas_prepared([])],
        population=[f"{WORK}/{folder}" for folder in PLAN.atlas_population([])],
        template=TEMPLATE,
        labels=fetched(PLAN.atlas_labels),
    output:
        labels=PRIORS["labels"],
        confidence=PRIORS["confidence"],
        probabilities=PRIORS["probabilities"],
    log:
        f"{LOGS}/atlas_priors.log",
    benchmark:
        f"{BENCHMARKS}/atlas_priors/all.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("atlas_priors/all"),
        runtime=minutes("atlas_priors/all"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.atlas.labelling),
        layout=PLAN.layout,
        names=lambda wildcards: PLAN.label_names_files.get("atlas"),
        atlases=PLAN.atlases,
        settings=STUDY.atlas.labelling,
    script:
        "../scripts/atlas_priors.py"
