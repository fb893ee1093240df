"""What a person reads: who was set aside and why, and the report."""


rule describe_dataset:
    output:
        **(
            {"atlas": f"{RESULTS}/atlas-{STUDY.atlas.name}_description.json"}
            if PLAN.atlases
            else {}
        ),
        description=f"{RESULTS}/dataset_description.json",
        readme=f"{RESULTS}/README.md",
        ignore=f"{RESULTS}/.bidsignore",
    log:
        f"{LOGS}/describe_dataset.log",
    conda:
        "environment.yaml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY.dataset),
        layout=PLAN.layout,
        source=lambda wildcards: STUDY.cohort.source,
        atlas=STUDY.atlas.name if PLAN.atlases else None,
        dataset=STUDY.dataset,
    script:
        "../scripts/describe_dataset.py"


rule list_quarantine:
    input:
        folders=[
            f"{WORK}/{folder}"
            for folder in PLAN.folders(
                "prepared",
                "library",
                "sessions",
                "population",
                "chained",
                "accumulated",
                "template_library",
                "atlas",
                "validation",
                "pairwise",
            )
        ],
    output:
        report(
            f"{RESULTS}/quarantine.tsv",
            caption="captions/quarantine.rst",
            category="Study",
            labels={"what": "images set aside"},
        ),
    log:
        f"{LOGS}/list_quarantine.log",
    benchmark:
        f"{BENCHMARKS}/list_quarantine/all.tsv"
    conda:
        "environment.yaml"
    resources:
        mem_mb=memory("list_quarantine/all"),
        runtime=minutes("list_quarantine/all"),
    params:
        regcore=PLAN.version,
        images=PLAN.image_by_member(),
    script:
        "../scripts/list_quarantine.py"


rule make_report:
    input:
        quarantine=f"{RESULTS}/quarantine.tsv",
        tables=TABLES,
        runtime=f"{RESULTS}/tables/runtime.tsv",
        measured=[f"{WORK}/{folder}" for folder in PLAN.folders("measured")],
        statistics=STATISTICS,
        templates=expand(
            f"{WORK}/template/{{iteration}}", iteration=PLAN.shown_iterations
        ),
        published=TEMPLATE if PLAN.uses_template else [],
        strata=[f"{WORK}/{folder}" for folder in PLAN.folders("strata")],
        weights=f"{RESULTS}/qc.tsv" if PLAN.uses_template else [],
    output:
        report(
            f"{RESULTS}/report.html",
            caption="captions/report.rst",
            category="Study",
            labels={"what": "report of the study"},
        ),
    log:
        f"{LOGS}/make_report.log",
    benchmark:
        f"{BENCHMARKS}/make_report/all.tsv"
    conda:
        "environment.yaml"
    resources:
        mem_mb=memory("make_report/all"),
        runtime=minutes("make_report/all"),
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout, STUDY, PLAN.strata),
        layout=PLAN.layout,
        study=STUDY,
        covariates=PLAN.covariates(),
        designs=PLAN.designs,
        strata=PLAN.strata,
        overrides=PLAN.override_rows,
        disk_mb=PLAN.disk_mb,
    script:
        "../scripts/make_report.py"


# asked for by `strict: true`; everything else comes first, so that one bad image costs nothing but the exit code
rule check_strict:
    input:
        EVERYTHING,
        quarantine=f"{RESULTS}/quarantine.tsv",
    output:
        f"{WORK}/strict.json",
    log:
        f"{LOGS}/check_strict.log",
    conda:
        "environment.yaml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        regcore=PLAN.version,
    script:
        "../scripts/check_strict.py"
