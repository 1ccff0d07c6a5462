# The pretrained model -> a model a task, and its measure.

OWN_TASKS = tuple(SETTINGS.finetuning.tasks)
GIVEN = {"vcr": "vcr", "refcoco": "coco", "refcoco_detections": "detections"}  # boxes that files name, their format
OF_TASK = {  # what a fine-tune reads but the model
    "store": lambda wildcards: INPUTS.store_of(wildcards.task).input,
    "annotations": lambda wildcards: INPUTS.annotation_files(SETTINGS.annotation_files(wildcards.task)),
    "given": lambda wildcards: f"<results>/tasks_features/{wildcards.task}.lmdb" if wildcards.task in GIVEN else [],
    "left_out": lambda wildcards: (
        f"<results>/tasks_features/{wildcards.task}_dropped.csv" if wildcards.task in GIVEN else []
    ),
    "images": lambda wildcards: (
        f"<results>/tasks_features/own/{wildcards.task}.parquet" if INPUTS.packs_pictures_of(wildcards.task) else []
    ),
}


localrules:
    finetune,


rule finetune:
    """Every fine-tune, its measures in one table, and the page."""
    input:
        "<results>/report/finetuning.csv",
        "<results>/report/index.html",


for task in PUBLISHED_TASKS + OWN_TASKS:

    rule:
        name:
            f"finetune_{task}"
        input:
            f"<results>/finetune/{task}/model",
        localrule: True


rule pack_task_images:
    """The images that the annotations speak of, as a shard."""
    input:
        INPUTS.task_images.input,
    output:
        tar="<results>/tasks_features/images.tar",
        table="<results>/tasks_features/images.parquet",
    log:
        "<logs>/pack_task_images.log",
    benchmark:
        "<times>/pack_task_images.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(120),
    params:
        folder=told(INPUTS.task_images.path),
    shell:
        "python -m extract.download.folder {params.folder:q} {output} > {log} 2>&1"


use rule extract_regions as extract_task_regions with:
    input:
        tar="<results>/tasks_features/images.tar",
        table="<results>/tasks_features/images.parquet",
        detector=DETECTOR.input,
        names=INPUTS.names,
    output:
        store="<results>/tasks_features/detected.lmdb",
        manifest="<results>/tasks_features/detected.json",
        counts="<results>/tasks_features/detected.parquet",
    log:
        "<logs>/extract_task_regions.log",
    benchmark:
        "<times>/extract_task_regions.tsv"


rule extract_given_boxes:
    """Features of the boxes that annotations name: VCR's objects, and what RefCOCO's expressions mean."""
    input:
        tar="<results>/tasks_features/images.tar",
        annotations=lambda wildcards: INPUTS.annotation_files(SETTINGS.box_files(wildcards.boxes)),
        detector=DETECTOR.input,
        names=INPUTS.names,
    output:
        store="<results>/tasks_features/{boxes}.lmdb",
        manifest="<results>/tasks_features/{boxes}.json",
        dropped="<results>/tasks_features/{boxes}_dropped.csv",
    log:
        "<logs>/extract_given_boxes/{boxes}.log",
    benchmark:
        "<times>/extract_given_boxes/{boxes}.tsv"
    wildcard_constraints:
        boxes="|".join(GIVEN),
    conda:
        "../../envs/vilbert.yaml"
    threads: ALLOCATIONS.detecting_threads
    resources:
        **ALLOCATIONS.detecting(runtime=240),
    params:
        kind=lambda wildcards: GIVEN[wildcards.boxes],
        files=lambda wildcards: SETTINGS.box_files(wildcards.boxes),
        boxes=lambda wildcards, resources: INPUTS.annotation(SETTINGS.box_file(wildcards.boxes)),
        images=lambda wildcards, resources: SETTINGS.box_names(wildcards.boxes, INPUTS.annotations),
        made_of=compared(SETTINGS.made_of("detector")),
        weights=told(DETECTOR.path),
        detector=told(SETTINGS.json("detector")),
    shell:
        "python -m extract.devices {resources.gpu} extract.regions.given_boxes {input.tar} {params.kind} {params.boxes:q}"
        " {params.weights:q} {output} {params.images:q} --threads {threads} --detector {params.detector:q} > {log} 2>&1"


rule finetune_task:
    """One task. Started again, it goes on from the last checkpoint."""
    input:
        **OF_TASK,
        model=INPUTS.start.input,
    output:
        model=directory("<results>/finetune/{task}/model"),
        metrics="<results>/finetune/{task}/metrics.jsonl",
        dropped="<results>/finetune/{task}/dropped.csv",
        predictions=directory("<results>/finetune/{task}/predictions"),
        baselines="<results>/finetune/{task}/baselines.json",
    log:
        "<logs>/finetune/{task}.log",
    benchmark:
        "<times>/finetune/{task}.tsv"
    wildcard_constraints:
        task=any_of(PUBLISHED_TASKS + OWN_TASKS),
    conda:
        "../../envs/vilbert.yaml"
    threads: ALLOCATIONS.training_threads
    resources:
        **ALLOCATIONS.training(runtime=1440),
    params:
        processes=ALLOCATIONS.processes,
        checkpoints=f"{RESULTS}/finetune/{{task}}/checkpoints",
        earlier=f"{RESULTS}/earlier",
        made_of=lambda wildcards: SETTINGS.made_of_finetuning(wildcards.task),
        model=told(INPUTS.start.path),
        store=lambda wildcards, resources: INPUTS.store_of(wildcards.task).path,
        annotations=told(INPUTS.annotations),
        given=lambda wildcards, input: f"--given {input.given} --left-out {input.left_out}" if input.given else "",
        images=lambda wildcards, input: f"--images {input.images}" if input.images else "",
        settings=lambda wildcards, resources: SETTINGS.finetuning_json(wildcards.task),
        runtime=told(SETTINGS.json("runtime")),
    shell:
        "python -m extract.devices {resources.gpu} vilbert.training.launch {resources.nodes} {params.processes}"
        " vilbert.tasks.finetune {wildcards.task} {params.model:q} {params.store:q} {params.annotations:q} {output}"
        " {params.given} {params.images}"
        " --checkpoints {params.checkpoints} --earlier {params.earlier} --settings {params.settings:q}"
        " --runtime {params.runtime:q} > {log} 2>&1"


rule zero_shot_retrieval:
    """Retrieval by the pretrained alignment head, without training."""
    input:
        model=INPUTS.start.input,
        store=INPUTS.detected.input,
        annotations=lambda wildcards: INPUTS.annotation_files(SETTINGS.annotation_files("retrieval")),
    output:
        metrics="<results>/zero_shot_retrieval/metrics.json",
        dropped="<results>/zero_shot_retrieval/dropped.csv",
        baselines="<results>/zero_shot_retrieval/baselines.json",
    log:
        "<logs>/zero_shot_retrieval.log",
    benchmark:
        "<times>/zero_shot_retrieval.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        **ALLOCATIONS.scoring(runtime=600),
    params:
        made_of=lambda wildcards: SETTINGS.made_of_zero_shot(),
        model=told(INPUTS.start.path),
        store=told(INPUTS.detected.path),
        annotations=told(INPUTS.annotations),
        settings=lambda wildcards, resources: SETTINGS.finetuning_json("retrieval"),
        runtime=told(SETTINGS.json("runtime")),
    shell:
        "python -m extract.devices {resources.gpu} vilbert.tasks.zero_shot {params.model:q} {params.store:q}"
        " {params.annotations:q} {output} --settings {params.settings:q} --runtime {params.runtime:q} > {log} 2>&1"


if SETTINGS.finetuning.probes is not None:

    rule probe:
        """How often the pretrained alignment head prefers a caption to a foil that differs in one respect."""
        input:
            model=INPUTS.start.input,
            store=INPUTS.detected.input,
            annotations=INPUTS.annotation_files([SETTINGS.finetuning.probes]),
            captions=[] if SETTINGS.finetuning.start_from else "<results>/pairs.parquet",
        output:
            report("<results>/report/probes.csv", caption="../report/probes.rst", category="Fine-tuning"),
        log:
            "<logs>/probe.log",
        benchmark:
            "<times>/probe.tsv"
        conda:
            "../../envs/vilbert.yaml"
        resources:
            **ALLOCATIONS.scoring(runtime=60),
        params:
            name=compared(SETTINGS.finetuning.probes),
            probes=told(INPUTS.annotation(SETTINGS.finetuning.probes)),
            model=told(INPUTS.start.path),
            store=told(INPUTS.detected.path),
            captions=lambda wildcards, input: f"--captions {input.captions}" if input.captions else "",
            split=SETTINGS.pretraining.train_split,
        shell:
            "python -m extract.devices {resources.gpu} vilbert.tasks.probes {params.model:q} {params.store:q}"
            " {params.probes:q} {output} {params.captions} --split {params.split} > {log} 2>&1"


rule describe_finetuning:
    """What each fine-tune comes to on held-out images, and what that is read against."""
    input:
        [f"<results>/finetune/{task}/baselines.json" for task in SETTINGS.finetuning.given()],
    output:
        report("<results>/report/finetuning.csv", caption="../report/finetuning.rst", category="Fine-tuning"),
    log:
        "<logs>/describe_finetuning.log",
    benchmark:
        "<times>/describe_finetuning.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(10),
    shell:
        "python -m vilbert.tasks.results {input} {output} > {log} 2>&1"
