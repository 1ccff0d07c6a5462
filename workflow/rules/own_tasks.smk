# Tasks of one's own: the pictures that their tables name -> their regions.


rule list_named_pictures:
    """The pictures that the table of a task of one's own names."""
    input:
        table=lambda wildcards: INPUTS.annotation_files([SETTINGS.finetuning.tasks[wildcards.task].table]),
    output:
        "<results>/tasks_features/own/{task}_pictures.csv",
    log:
        "<logs>/list_named_pictures/{task}.log",
    benchmark:
        "<times>/list_named_pictures/{task}.tsv"
    wildcard_constraints:
        task="|".join(OWN_TASKS),
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(30),
    params:
        kind=lambda wildcards: SETTINGS.finetuning.tasks[wildcards.task].kind,
        name=lambda wildcards: SETTINGS.finetuning.tasks[wildcards.task].table,
        table=lambda wildcards, resources: INPUTS.annotation(SETTINGS.finetuning.tasks[wildcards.task].table),
    shell:
        "python -m vilbert.tasks.named_pictures {params.kind} {params.table:q} {output} > {log} 2>&1"


rule pack_named_pictures:
    """These pictures, as a shard."""
    input:
        names="<results>/tasks_features/own/{task}_pictures.csv",
        images=INPUTS.task_images.input,
    output:
        tar="<results>/tasks_features/own/{task}.tar",
        table="<results>/tasks_features/own/{task}.parquet",
    log:
        "<logs>/pack_named_pictures/{task}.log",
    benchmark:
        "<times>/pack_named_pictures/{task}.tsv"
    wildcard_constraints:
        task="|".join(OWN_TASKS),
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(120),
    params:
        folder=told(INPUTS.task_images.path),
    shell:
        "python -m extract.download.named_pictures {input.names} {params.folder:q} {output} > {log} 2>&1"


use rule extract_regions as extract_named_regions with:
    input:
        tar="<results>/tasks_features/own/{task}.tar",
        table="<results>/tasks_features/own/{task}.parquet",
        detector=DETECTOR.input,
        names=INPUTS.names,
    output:
        store="<results>/tasks_features/own/{task}.lmdb",
        manifest="<results>/tasks_features/own/{task}.json",
        counts="<results>/tasks_features/own/{task}_counts.parquet",
    log:
        "<logs>/extract_named_regions/{task}.log",
    benchmark:
        "<times>/extract_named_regions/{task}.tsv"
    wildcard_constraints:
        task="|".join(OWN_TASKS),
