"""A template that is given: frozen, or what a rebuild starts from. Included only where there is one."""


ruleorder: given_template > template_grid > gather_template
ruleorder: start_batch > centre_batch
ruleorder: hold_template > gather_template


rule given_template:
    input:
        files=[str(path) for path in PLAN.given.values()],
        cache=WARM,
    output:
        grid=f"{WORK}/template/grid.json",
        template=directory(f"{WORK}/template/00"),
    log:
        f"{LOGS}/given_template.log",
    benchmark:
        f"{BENCHMARKS}/given_template/all.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("given_template/all"),
        runtime=minutes("given_template/all"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.given),
        files=PLAN.given,
        sharpen=STUDY.template.sharpen,
        symmetric=STUDY.template.symmetric,
    script:
        "../scripts/given_template.py"


rule start_batch:
    input:
        prepared=lambda wildcards: prepared(PLAN.keys_of(wildcards.batch)),
        grid=f"{WORK}/template/grid.json",
        template=f"{WORK}/template/00",
        known=lambda wildcards: [*PLAN.known_transforms(wildcards.batch).values()],
    output:
        temp(directory(f"{WORK}/register/00/{{batch}}")),
    log:
        f"{LOGS}/start_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/start_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("start_batch/{batch}"),
        runtime=minutes("start_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(PLAN.overrides_of(wildcards.batch)),
        known=lambda wildcards: PLAN.known_transforms(wildcards.batch),
        held=list(STUDY.template.held),
        overrides=lambda wildcards: PLAN.overrides_of(wildcards.batch),
    script:
        "../scripts/start_batch.py"


rule hold_template:
    input:
        registered=expand(
            f"{WORK}/register/{{{{iteration}}}}/{{batch}}", batch=PLAN.batches
        ),
        previous=lambda wildcards: f"{WORK}/template/{PLAN.before(wildcards.iteration)}",
    output:
        directory(f"{WORK}/template/{{iteration}}"),
    log:
        f"{LOGS}/hold_template/{{iteration}}.log",
    benchmark:
        f"{BENCHMARKS}/hold_template/{{iteration}}.tsv"
    wildcard_constraints:
        iteration="|".join(["none", *PLAN.held_iterations]),
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("hold_template/{iteration}"),
        runtime=minutes("hold_template/{iteration}"),
    params:
        regcore=PLAN.version,
        stage=lambda wildcards: PLAN.stage_name(wildcards.iteration),
        sharpen=STUDY.template.sharpen,
        fingerprint=fingerprint(STUDY.qc.judging),
        quality=STUDY.qc.judging,
    script:
        "../scripts/hold_template.py"


if STUDY.template.frozen:

    ruleorder: publish_given > publish_template

    rule publish_given:
        input:
            population=expand(f"{WORK}/population/{{batch}}", batch=PLAN.batches),
            template=f"{WORK}/template/{PLAN.last}",
            files=[str(path) for path in PLAN.given.values()],
        output:
            **PUBLISHED,
        log:
            f"{LOGS}/publish_given.log",
        benchmark:
            f"{BENCHMARKS}/publish_given/all.tsv"
        conda:
            "environment.yaml"
        threads: STUDY.threads
        resources:
            mem_mb=memory("publish_given/all"),
            runtime=minutes("publish_given/all"),
        params:
            regcore=PLAN.version,
            fingerprint=fingerprint(PLAN.layout, PLAN.given, STUDY.dataset, PLAN.strata),
            files=PLAN.given,
            layout=PLAN.layout,
            dataset=STUDY.dataset,
            strata=PLAN.strata,
        script:
            "../scripts/publish_given.py"
