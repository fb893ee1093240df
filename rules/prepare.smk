"""Every image on its own: screened, masked, intensities brought to one scale."""


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
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    # no version among its parameters: Snakemake looks at no job behind one that runs again, and would pass over
    # all that another version has to make anew, because they take this file as ancient
    script:
        "../scripts/warm_cache.py"


rule prepare_member:
    input:
        images=lambda wildcards: PLAN.images_of(wildcards.key),
        cache=WARM,
    output:
        directory(f"{WORK}/prepared/{{key}}"),
    log:
        f"{LOGS}/prepare_member/{{key}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_member/{{key}}.tsv"
    wildcard_constraints:
        key="|".join(map(re.escape, PLAN.images)),
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: PLAN.memory_mb(attempt),
        runtime=lambda wildcards, attempt: PLAN.minutes(attempt),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.member(wildcards.key), STUDY.prepare
        ),
        member=lambda wildcards: PLAN.member(wildcards.key),
        settings=STUDY.prepare,
    script:
        "../scripts/prepare_member.py"
