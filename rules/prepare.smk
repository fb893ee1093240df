"""Every image on its own: screened, masked, intensities brought to one scale."""

# the prepared subjects of several sessions lie beside the images; without them, any batch is one of images
PREPARED = (
    "|".join(map(re.escape, PLAN.prepared_batches))
    if PLAN.subjects
    else r"[A-Za-z0-9+_-]+"
)


rule warm_cache:
    output:
        f"{WORK}/warm_cache.json",
    log:
        f"{LOGS}/warm_cache.log",
    benchmark:
        f"{BENCHMARKS}/warm_cache/all.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("warm_cache/all"),
        runtime=minutes("warm_cache/all"),
    # no version among its parameters: Snakemake looks at no job behind one that runs again, and would pass over
    # all that another version has to make anew, because they take this file as ancient
    script:
        "../scripts/warm_cache.py"


rule prepare_batch:
    input:
        images=lambda wildcards: fetched(PLAN.images_of(wildcards.batch)),
        cache=WARM,
    output:
        directory(f"{WORK}/prepared/{{batch}}"),
    log:
        f"{LOGS}/prepare_batch/{{batch}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_batch/{{batch}}.tsv"
    wildcard_constraints:
        batch=PREPARED,
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("prepare_batch/{batch}"),
        runtime=minutes("prepare_batch/{batch}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.sources(wildcards.batch), STUDY.prepare
        ),
        members=lambda wildcards: PLAN.sources(wildcards.batch),
        settings=STUDY.prepare,
    script:
        "../scripts/prepare_batch.py"
