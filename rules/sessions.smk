"""Sessions of a subject: averaged in the way of the population's template, then followed one by one."""

AVERAGED = "|".join(["none", *PLAN.subject_names(averaged=True)])
PASSED = "|".join(["none", *PLAN.subject_names(averaged=False)])
SUBJECT = f"{WORK}/subjects/{{subject}}"


use rule template_grid as subject_grid with:
    input:
        prepared=lambda wildcards: prepared(PLAN.subjects[wildcards.subject].keys),
    output:
        f"{SUBJECT}/grid.json",
    log:
        f"{LOGS}/subject_grid/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/subject_grid/{{subject}}.tsv"
    resources:
        mem_mb=memory("subject_grid/{subject}"),
        runtime=minutes("subject_grid/{subject}"),
    params:
        regcore=PLAN.version,
        spacing_mm=STUDY.sessions.spacing_mm,
        # parameters that are not named here would be the population's
        symmetric=False,
        subject=True,


use rule centre_batch as subject_centre with:
    input:
        prepared=lambda wildcards: prepared(PLAN.subjects[wildcards.subject].keys),
        grid=f"{SUBJECT}/grid.json",
    output:
        temp(directory(f"{SUBJECT}/register/00/all")),
    log:
        f"{LOGS}/subject_centre/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/subject_centre/{{subject}}.tsv"
    resources:
        mem_mb=memory("subject_centre/{subject}"),
        runtime=minutes("subject_centre/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.session_overrides(wildcards.subject)
        ),
        overrides=lambda wildcards: PLAN.session_overrides(wildcards.subject),
        subject=True,


use rule register_batch as subject_register with:
    input:
        prepared=lambda wildcards: prepared(PLAN.subjects[wildcards.subject].keys),
        previous=lambda wildcards: f"{WORK}/subjects/{wildcards.subject}/register/{PLAN.before(wildcards.iteration)}/all",
        template=lambda wildcards: f"{WORK}/subjects/{wildcards.subject}/template/{PLAN.before(wildcards.iteration)}",
    output:
        temp(directory(f"{SUBJECT}/register/{{iteration}}/all")),
    log:
        f"{LOGS}/subject_register/{{iteration}}_{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/subject_register/{{iteration}}_{{subject}}.tsv"
    wildcard_constraints:
        iteration="|".join(["none", *PLAN.session_iterations[:-1]]),
    resources:
        mem_mb=memory("subject_register/{iteration}_{subject}"),
        runtime=minutes("subject_register/{iteration}_{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.stage(wildcards.iteration, STUDY.sessions),
            STUDY.cohort.channels,
            PLAN.session_overrides(wildcards.subject),
        ),
        stage=lambda wildcards: PLAN.stage(wildcards.iteration, STUDY.sessions),
        channels=STUDY.cohort.channels,
        overrides=lambda wildcards: PLAN.session_overrides(wildcards.subject),


use rule subject_register as subject_register_last with:
    output:
        directory(f"{SUBJECT}/register/{{iteration}}/all"),
    log:
        f"{LOGS}/subject_register_last/{{iteration}}_{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/subject_register_last/{{iteration}}_{{subject}}.tsv"
    wildcard_constraints:
        iteration="|".join(["none", *PLAN.session_iterations[-1:]]),
    resources:
        mem_mb=memory("subject_register_last/{iteration}_{subject}"),
        runtime=minutes("subject_register_last/{iteration}_{subject}"),


use rule gather_template as subject_gather with:
    input:
        registered=f"{SUBJECT}/register/{{iteration}}/all",
        previous=lambda wildcards: [
            f"{WORK}/subjects/{wildcards.subject}/template/{iteration}"
            for iteration in PLAN.previous_template(wildcards.iteration)
        ],
    output:
        directory(f"{SUBJECT}/template/{{iteration}}"),
    log:
        f"{LOGS}/subject_gather/{{iteration}}_{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/subject_gather/{{iteration}}_{{subject}}.tsv"
    resources:
        mem_mb=memory("subject_gather/{iteration}_{subject}"),
        runtime=minutes("subject_gather/{iteration}_{subject}"),
    params:
        regcore=PLAN.version,
        stage=lambda wildcards: PLAN.stage_name(wildcards.iteration, STUDY.sessions),
        sharpen=STUDY.sessions.sharpen,
        stop_mm=STUDY.sessions.stop_mm,
        fingerprint=fingerprint(STUDY.qc.judging),
        quality=STUDY.qc.judging,
        symmetric=False,
        subject=True,


use rule population_batch as subject_sessions with:
    input:
        prepared=lambda wildcards: prepared(PLAN.subjects[wildcards.subject].keys),
        registered=f"{SUBJECT}/register/{PLAN.last_session}/all",
        template=f"{SUBJECT}/template/{PLAN.last_session}",
        labels=lambda wildcards: fetched(
            PLAN.subjects[wildcards.subject].labels.values()
        ),
    output:
        directory(f"{WORK}/sessions/{{subject}}"),
    log:
        f"{LOGS}/subject_sessions/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/subject_sessions/{{subject}}.tsv"
    resources:
        mem_mb=memory("subject_sessions/{subject}"),
        runtime=minutes("subject_sessions/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.within(wildcards.subject), STUDY.population
        ),
        layout=lambda wildcards: PLAN.within(wildcards.subject),
        labels=lambda wildcards: PLAN.subjects[wildcards.subject].labels,
        names=lambda wildcards: PLAN.label_names_files.get("own"),
        settings=STUDY.population,


rule subject_template:
    input:
        sessions=f"{WORK}/sessions/{{subject}}",
        template=f"{SUBJECT}/template/{PLAN.last_session}",
    output:
        directory(f"{WORK}/prepared/{{subject}}"),
    log:
        f"{LOGS}/subject_template/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/subject_template/{{subject}}.tsv"
    wildcard_constraints:
        subject=AVERAGED,
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("subject_template/{subject}"),
        runtime=minutes("subject_template/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(PLAN.within(wildcards.subject)),
        sessions=lambda wildcards: PLAN.subjects[wildcards.subject].keys,
        within=lambda wildcards: PLAN.within(wildcards.subject),
        labels_from=STUDY.sessions.labels_from,
        names=lambda wildcards: PLAN.label_names_files.get("own"),
    script:
        "../scripts/subject_template.py"


rule pass_session:
    input:
        prepared=lambda wildcards: prepared(PLAN.subjects[wildcards.subject].keys),
    output:
        directory(f"{WORK}/prepared/{{subject}}"),
    log:
        f"{LOGS}/pass_session/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/pass_session/{{subject}}.tsv"
    wildcard_constraints:
        subject=PASSED,
    conda:
        "environment.yaml"
    resources:
        mem_mb=memory("pass_session/{subject}"),
        runtime=minutes("pass_session/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(PLAN.within(wildcards.subject)),
        within=lambda wildcards: PLAN.within(wildcards.subject),
    script:
        "../scripts/pass_session.py"


rule chain_sessions:
    input:
        prepared=lambda wildcards: prepared(PLAN.subjects[wildcards.subject].keys),
        member=f"{WORK}/prepared/{{subject}}",
        population=lambda wildcards: f"{WORK}/population/{PLAN.batch_of[wildcards.subject]}",
        template=TEMPLATE,
    output:
        directory(f"{WORK}/chained/{{subject}}"),
    log:
        f"{LOGS}/chain_sessions/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/chain_sessions/{{subject}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("chain_sessions/{subject}"),
        runtime=minutes("chain_sessions/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.layout, PLAN.within(wildcards.subject), STUDY.population
        ),
        sessions=lambda wildcards: PLAN.subjects[wildcards.subject].keys,
        layout=PLAN.layout,
        within=lambda wildcards: PLAN.within(wildcards.subject),
        settings=STUDY.population,
    script:
        "../scripts/chain_sessions.py"


rule propagate_labels:
    input:
        prepared=lambda wildcards: prepared(PLAN.subjects[wildcards.subject].keys),
        member=f"{WORK}/prepared/{{subject}}",
        atlas=lambda wildcards: expand(
            f"{WORK}/{{folder}}", folder=PLAN.subject_atlas(wildcards.subject)
        ),
        labels=lambda wildcards: fetched(
            PLAN.subjects[wildcards.subject].labels.values()
        ),
    output:
        directory(f"{WORK}/propagated/{{subject}}"),
    log:
        f"{LOGS}/propagate_labels/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/propagate_labels/{{subject}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("propagate_labels/{subject}"),
        runtime=minutes("propagate_labels/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.layout, PLAN.within(wildcards.subject)
        ),
        sessions=lambda wildcards: PLAN.subjects[wildcards.subject].keys,
        within=lambda wildcards: PLAN.within(wildcards.subject),
        labels=lambda wildcards: PLAN.subject_labels(wildcards.subject),
        labels_from=STUDY.sessions.labels_from,
    script:
        "../scripts/propagate_labels.py"


rule accumulate_maps:
    input:
        member=f"{WORK}/prepared/{{subject}}",
        maps=lambda wildcards: fetched(PLAN.subjects[wildcards.subject].maps.values()),
        atlas=lambda wildcards: expand(
            f"{WORK}/{{folder}}", folder=PLAN.subject_atlas(wildcards.subject)
        ),
        labels=lambda wildcards: fetched(
            PLAN.subjects[wildcards.subject].labels.values()
        ),
    output:
        directory(f"{WORK}/accumulated/{{subject}}"),
    log:
        f"{LOGS}/accumulate_maps/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/accumulate_maps/{{subject}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("accumulate_maps/{subject}"),
        runtime=minutes("accumulate_maps/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.layout, PLAN.within(wildcards.subject), STUDY.sessions
        ),
        sessions=lambda wildcards: PLAN.subjects[wildcards.subject].keys,
        within=lambda wildcards: PLAN.within(wildcards.subject),
        maps=lambda wildcards: PLAN.subjects[wildcards.subject].maps,
        labels=lambda wildcards: PLAN.subject_labels(wildcards.subject),
        settings=STUDY.sessions,
    script:
        "../scripts/accumulate_maps.py"


rule measure_sessions:
    input:
        member=f"{WORK}/prepared/{{subject}}",
        chained=f"{WORK}/chained/{{subject}}" if PLAN.uses_template else [],
        atlas=lambda wildcards: expand(
            f"{WORK}/{{folder}}", folder=PLAN.subject_atlas(wildcards.subject)
        ),
        labels=lambda wildcards: fetched(
            PLAN.subjects[wildcards.subject].labels.values()
        ),
    output:
        directory(f"{WORK}/followed/{{subject}}"),
    log:
        f"{LOGS}/measure_sessions/{{subject}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_sessions/{{subject}}.tsv"
    conda:
        "environment.yaml"
    threads: STUDY.threads
    resources:
        mem_mb=memory("measure_sessions/{subject}"),
        runtime=minutes("measure_sessions/{subject}"),
    params:
        regcore=PLAN.version,
        fingerprint=lambda wildcards: fingerprint(
            PLAN.layout, PLAN.within(wildcards.subject)
        ),
        sessions=lambda wildcards: PLAN.subjects[wildcards.subject].keys,
        within=lambda wildcards: PLAN.within(wildcards.subject),
        labels=lambda wildcards: PLAN.subject_labels(wildcards.subject),
        baseline=STUDY.sessions.baseline,
    script:
        "../scripts/measure_sessions.py"
