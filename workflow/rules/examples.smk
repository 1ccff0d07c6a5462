# What the models do with held-out pictures, to look at.
HAS_PICTURES = SETTINGS.finetuning.features is None  # of the tasks
HAS_ATTENTION = SETTINGS.model.architecture == "two_stream" and bool(SETTINGS.model.text_co_layers)


if HAS_ATTENTION:

    rule show_attention:
        """Where the words of a few held-out captions look, and how often at what they name."""
        input:
            model="<results>/pretrain/model",
            pairs="<results>/pairs.parquet",
            stores=[f"<results>/features/{VALIDATION}/{shard}.lmdb" for shard in SETTINGS.shards(VALIDATION)],
            tars=[f"<results>/images/{VALIDATION}/{shard}.tar" for shard in SETTINGS.shards(VALIDATION)],
        output:
            directory("<results>/report/examples/attention"),
        log:
            "<logs>/show_attention.log",
        benchmark:
            "<times>/show_attention.tsv"
        conda:
            "../../envs/vilbert.yaml"
        resources:
            mem_mb=scaled(4000),
            runtime=ALLOCATIONS.minutes(30),
        params:
            tars=lambda wildcards, input: [f"--tar {tar}" for tar in input.tars],
            made_of=compared(SETTINGS.made_of("pretraining")),
            settings=told(SETTINGS.json("pretraining")),
        shell:
            "python -m vilbert.report.attention {input.model} {input.pairs} {input.stores} {output} {params.tars}"
            " --settings {params.settings:q} > {log} 2>&1"


if HAS_PICTURES:

    rule show_answers:
        """What a fine-tuned task answers to some held-out examples, right and wrong ones."""
        input:
            model="<results>/finetune/{task}/model",
            predictions="<results>/finetune/{task}/predictions",
            store=lambda wildcards: INPUTS.store_of(wildcards.task).input,
            annotations=lambda wildcards: INPUTS.annotation_files(SETTINGS.annotation_files(wildcards.task)),
            given=lambda wildcards: "<results>/tasks_features/vcr.lmdb" if wildcards.task == "vcr" else [],
            images=lambda wildcards: (
                f"<results>/tasks_features/own/{wildcards.task}.parquet"
                if INPUTS.packs_pictures_of(wildcards.task)
                else []
            ),
            tar=lambda wildcards: (
                f"<results>/tasks_features/own/{wildcards.task}.tar"
                if INPUTS.packs_pictures_of(wildcards.task)
                else "<results>/tasks_features/images.tar"
            ),
        output:
            directory("<results>/report/examples/{task}"),
        log:
            "<logs>/show_answers/{task}.log",
        benchmark:
            "<times>/show_answers/{task}.tsv"
        wildcard_constraints:
            task="|".join(PUBLISHED_TASKS + OWN_TASKS),
        conda:
            "../../envs/vilbert.yaml"
        resources:
            mem_mb=scaled(8000),
            runtime=ALLOCATIONS.minutes(60),
        params:
            store=lambda wildcards, resources: INPUTS.store_of(wildcards.task).path,
            annotations=told(INPUTS.annotations),
            given=lambda wildcards, input: f"--given {input.given}" if input.given else "",
            images=lambda wildcards, input: f"--images {input.images}" if input.images else "",
            settings=lambda wildcards, resources: SETTINGS.finetuning_json(wildcards.task),
        shell:
            "python -m vilbert.report.examples {wildcards.task} {input.model} {input.predictions} {params.store:q}"
            " {params.annotations:q} {input.tar} {output} {params.given} {params.images}"
            " --settings {params.settings:q} > {log} 2>&1"


rule show_retrieval:
    """Some held-out captions, each with the images that the pretrained model finds for it."""
    input:
        model="<results>/pretrain/model",
        tokens="<results>/tokens/pairs.parquet",
        stores=[f"<results>/features/{VALIDATION}/{shard}.lmdb" for shard in SETTINGS.shards(VALIDATION)],
        tars=[f"<results>/images/{VALIDATION}/{shard}.tar" for shard in SETTINGS.shards(VALIDATION)],
    output:
        directory("<results>/report/examples/pretraining"),
    log:
        "<logs>/show_retrieval.log",
    benchmark:
        "<times>/show_retrieval.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(30),
    params:
        tars=lambda wildcards, input: [f"--tar {tar}" for tar in input.tars],
        made_of=compared(SETTINGS.made_of("pretraining")),
        settings=told(SETTINGS.json("pretraining")),
    shell:
        "python -m vilbert.report.retrieved {input.model} {input.tokens} {input.stores} {output} {params.tars}"
        " --settings {params.settings:q} > {log} 2>&1"
