"""Tables of the study: members are measured in batches, then the rows are put together."""


rule measure_batch:
    input:
        prepared=lambda wildcards: prepared(PLAN.keys_of(wildcards.batch)),
        population=f"{WORK}/population/{{batch}}" if PLAN.uses_template else [],
        template=TEMPLATE if PLAN.uses_template else [],
        atlas=lambda wildcards: expand(
            f"{WORK}/atlas/{{batch}}", batch=PLAN.atlas_folders(wildcards.batch)
        ),
        labels=lambda wildcards: fetched(PLAN.labels_of(wildcards.batch)),
        regions=list(PLAN.template_labels.values()),
    output:
        directory(f"{WORK}/measured/{{batch}}"),
    log:
        f"{LOGS}/measure_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_batch/{{batch}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("measure_batch/{batch}"),
        runtime=minutes("measure_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.tables),
        layout=PLAN.layout,
        labels=lambda wildcards: PLAN.labels_by_member(wildcards.batch),
        names=PLAN.label_names_files,
        regions=PLAN.template_labels,
        atlas_name=STUDY.atlas.name,
        settings=STUDY.tables,
        convention=STUDY.report.convention,
    script:
        "../scripts/measure_batch.py"


rule collect_tables:
    input:
        folders=[
            f"{WORK}/{folder}"
            for folder in PLAN.folders(
                "population",
                "sessions",
                "template_library",
                "atlas",
                "validation",
                "pairwise",
                "measured",
                "influence",
                "strata",
                "propagated",
                "accumulated",
                "followed",
            )
        ],
        template=f"{WORK}/template/{PLAN.last}" if PLAN.uses_template else [],
        certificate=TEMPLATE if PLAN.uses_template else [],
    output:
        [
            report(
                f"{RESULTS}/tables/{name}.tsv",
                caption="captions/table.rst",
                category="Tables",
                labels={"what": name},
            )
            for name in PLAN.tables
        ],
    log:
        f"{LOGS}/collect_tables.log",
    benchmark:
        f"{BENCHMARKS}/collect_tables/all.tsv"
    conda:
        "environment.yaml"
    resources:
        mem_mb=memory("collect_tables/all"),
        runtime=minutes("collect_tables/all"),
    params:
        regcore=PLAN.version,
        tables=PLAN.tables,
        covariates=PLAN.covariates(sessions=True),
        names=PLAN.label_names_files,
    script:
        "../scripts/collect_tables.py"


# run times differ from run to run: they have a table of their own, so that all other tables are reproducible
rule collect_runtime:
    input:
        TABLES,
    output:
        f"{RESULTS}/tables/runtime.tsv",
    log:
        f"{LOGS}/collect_runtime.log",
    benchmark:
        f"{BENCHMARKS}/collect_runtime/all.tsv"
    conda:
        "environment.yaml"
    resources:
        mem_mb=memory("collect_runtime/all"),
        runtime=minutes("collect_runtime/all"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout),
        layout=PLAN.layout,
        expected=PLAN.costs,
    script:
        "../scripts/collect_runtime.py"
