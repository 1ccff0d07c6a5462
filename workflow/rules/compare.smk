# The paper's comparisons: the same data and budget, several seeds, one table.
ARCHITECTURES = ("two_stream", "single_stream")


use rule pretrain as pretrain_variant with:
    output:
        model=directory("<results>/compare/pretraining/{architecture}-{seed}/model"),
        metrics="<results>/compare/pretraining/{architecture}-{seed}/metrics.jsonl",
        curves="<results>/compare/pretraining/{architecture}-{seed}/learning_curves.svg",
        baselines="<results>/compare/pretraining/{architecture}-{seed}/baselines.json",
    log:
        "<logs>/pretrain_variant/{architecture}-{seed}.log",
    benchmark:
        "<times>/pretrain_variant/{architecture}-{seed}.tsv"
    wildcard_constraints:
        architecture="|".join(ARCHITECTURES),
        seed=r"\d+",
    params:
        processes=ALLOCATIONS.processes,
        checkpoints=f"{RESULTS}/compare/pretraining/{{architecture}}-{{seed}}/checkpoints",
        earlier=f"{RESULTS}/earlier",
        made_of=lambda wildcards: SETTINGS.made_of_pretraining(
            architecture=wildcards.architecture, seed=int(wildcards.seed)
        ),
        model=lambda wildcards, resources: SETTINGS.json(
            "model", architecture=wildcards.architecture, text_init=INPUTS.text_init.path
        ),
        settings=lambda wildcards, resources: SETTINGS.json("pretraining", seed=int(wildcards.seed)),
        runtime=told(SETTINGS.json("runtime")),


rule compare_single_stream:
    """Two streams against one, as in table 1 of the paper, by the metrics of pretraining."""
    input:
        expand(
            "<results>/compare/pretraining/{architecture}-{seed}/metrics.jsonl",
            architecture=ARCHITECTURES,
            seed=SETTINGS.comparison.seeds,
        ),
    output:
        report("<results>/report/single_stream.csv", caption="../report/single_stream.rst", category="Pretraining"),
    log:
        "<logs>/compare_single_stream.log",
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(10),
    shell:
        "python -m vilbert.training.comparison {input} {output} > {log} 2>&1"


use rule finetune_task as finetune_variant with:
    output:
        model=directory("<results>/compare/{task}/{start}-{seed}/model"),
        metrics="<results>/compare/{task}/{start}-{seed}/metrics.jsonl",
        dropped="<results>/compare/{task}/{start}-{seed}/dropped.csv",
        predictions=directory("<results>/compare/{task}/{start}-{seed}/predictions"),
        baselines="<results>/compare/{task}/{start}-{seed}/baselines.json",
    log:
        "<logs>/finetune_variant/{task}/{start}-{seed}.log",
    benchmark:
        "<times>/finetune_variant/{task}/{start}-{seed}.tsv"
    wildcard_constraints:
        start="pretrained|new",
        seed=r"\d+",
    params:
        processes=ALLOCATIONS.processes,
        checkpoints=f"{RESULTS}/compare/{{task}}/{{start}}-{{seed}}/checkpoints",
        given=lambda wildcards, input: (f"--given {input.given} --left-out {input.left_out} " if input.given else "")
        + ("--new-weights" if wildcards.start == "new" else ""),
        earlier=f"{RESULTS}/earlier",
        made_of=lambda wildcards: SETTINGS.made_of_finetuning(
            wildcards.task, has_new_weights=wildcards.start == "new", seed=int(wildcards.seed)
        ),
        model=told(INPUTS.start.path),
        store=lambda wildcards, resources: INPUTS.store_of(wildcards.task).path,
        annotations=told(INPUTS.annotations),
        settings=lambda wildcards, resources: SETTINGS.finetuning_json(wildcards.task, seed=int(wildcards.seed)),
        runtime=told(SETTINGS.json("runtime")),


rule compare_pretraining:
    """Fine-tunes of the pretrained model against those of new weights, as in table 1 of the paper."""
    input:
        expand(
            "<results>/compare/{task}/{start}-{seed}/metrics.jsonl",
            task=SETTINGS.finetuning.given(),
            start=("pretrained", "new"),
            seed=SETTINGS.comparison.seeds,
        ),
    output:
        report(
            "<results>/report/pretraining_pays.csv", caption="../report/pretraining_pays.rst", category="Fine-tuning"
        ),
    log:
        "<logs>/compare_pretraining.log",
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(10),
    shell:
        "python -m vilbert.training.comparison {input} {output} > {log} 2>&1"
