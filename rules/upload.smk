"""Results in an object store, through the plugin of Snakemake that its address asks for."""


rule upload_results:
    input:
        EVERYTHING,
    output:
        storage(STUDY.upload_to),
    log:
        f"{LOGS}/upload_results.log",
    conda:
        "environment.yaml"
    resources:
        mem_mb=500,
        runtime=120,
    params:
        regcore=PLAN.version,
        fingerprint=fingerprint(PLAN.layout),
        layout=PLAN.layout,
    script:
        "../scripts/upload_results.py"
