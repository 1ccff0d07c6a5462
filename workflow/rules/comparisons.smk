# The paper's comparisons: a job a cell and seed, of the same budget, and one table.
COMPARISONS = Comparisons(SETTINGS, INPUTS, results=RESULTS)
OF_CELL = f"{RESULTS}/comparisons/{{cell}}/{{seed}}"  # for params, where <results> does not stand


localrules:
    comparisons,


use rule pretrain as pretrain_cell with:
    input:
        tokens="<results>/tokens/pairs.parquet",
        tokenizer="<results>/tokens/tokenizer",
        stores=[f"<results>/features/{split}/{shard}.lmdb" for split in SPLITS for shard in SETTINGS.shards(split)],
        text_init=lambda wildcards: COMPARISONS.text_init(wildcards.cell).input,
    output:
        model=directory("<results>/comparisons/{cell}/{seed}/pretrain/model"),
        metrics="<results>/comparisons/{cell}/{seed}/pretrain/metrics.jsonl",
        curves="<results>/comparisons/{cell}/{seed}/pretrain/learning_curves.svg",
        baselines="<results>/comparisons/{cell}/{seed}/pretrain/baselines.json",
    log:
        "<logs>/pretrain_cell/{cell}-{seed}.log",
    benchmark:
        "<times>/pretrain_cell/{cell}-{seed}.tsv"
    wildcard_constraints:
        cell=any_of(COMPARISONS.pretrained),
        seed=r"\d+",
    params:
        checkpoints=f"{OF_CELL}/pretrain/checkpoints",
        made_of=lambda wildcards: COMPARISONS.made_of_pretraining(wildcards.cell, int(wildcards.seed)),
        model=lambda wildcards, resources: COMPARISONS.model_json(wildcards.cell),
        settings=lambda wildcards, resources: SETTINGS.json("pretraining", seed=int(wildcards.seed)),
        share=lambda wildcards, resources: f"--share {COMPARISONS.cells[wildcards.cell].share}",


rule start_cell:
    """What a pretraining would start from, for the fine-tunes of a cell that has none."""
    input:
        tokenizer="<results>/tokens/tokenizer",
        stores=[f"<results>/features/{split}/{shard}.lmdb" for split in SPLITS for shard in SETTINGS.shards(split)],
        text_init=lambda wildcards: COMPARISONS.text_init(wildcards.cell).input,
    output:
        directory("<results>/comparisons/{cell}/{seed}/untrained/model"),
    log:
        "<logs>/start_cell/{cell}-{seed}.log",
    benchmark:
        "<times>/start_cell/{cell}-{seed}.tsv"
    wildcard_constraints:
        cell=any_of(COMPARISONS.untrained),
        seed=r"\d+",
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(6000),
        runtime=ALLOCATIONS.minutes(30),
    params:
        made_of=lambda wildcards: COMPARISONS.made_of_start(wildcards.cell, int(wildcards.seed)),
        model=lambda wildcards, resources: COMPARISONS.model_json(wildcards.cell),
    shell:
        "python -m vilbert.pretraining.untrained {input.tokenizer} {input.stores} {output} --model {params.model:q}"
        " --seed {wildcards.seed} > {log} 2>&1"


use rule finetune_task as finetune_cell with:
    input:
        **OF_TASK,
        model=lambda wildcards: COMPARISONS.start(wildcards.cell, int(wildcards.seed)),
    output:
        model=directory("<results>/comparisons/{cell}/{seed}/finetune/{task}/model"),
        metrics="<results>/comparisons/{cell}/{seed}/finetune/{task}/metrics.jsonl",
        dropped="<results>/comparisons/{cell}/{seed}/finetune/{task}/dropped.csv",
        predictions=directory("<results>/comparisons/{cell}/{seed}/finetune/{task}/predictions"),
        baselines="<results>/comparisons/{cell}/{seed}/finetune/{task}/baselines.json",
    log:
        "<logs>/finetune_cell/{cell}-{seed}/{task}.log",
    benchmark:
        "<times>/finetune_cell/{cell}-{seed}/{task}.tsv"
    wildcard_constraints:
        task=any_of(PUBLISHED_TASKS + OWN_TASKS),
        cell=any_of(COMPARISONS.cells),
        seed=r"\d+",
    params:
        checkpoints=f"{OF_CELL}/finetune/{{task}}/checkpoints",
        made_of=lambda wildcards: SETTINGS.made_of_finetuning(wildcards.task, seed=int(wildcards.seed)),
        model=lambda wildcards, resources: COMPARISONS.start(wildcards.cell, int(wildcards.seed)),
        settings=lambda wildcards, resources: SETTINGS.finetuning_json(wildcards.task, seed=int(wildcards.seed)),


use rule zero_shot_retrieval as zero_shot_cell with:
    input:
        model=lambda wildcards: COMPARISONS.start(wildcards.cell, int(wildcards.seed)),
        store=INPUTS.detected.input,
        annotations=lambda wildcards: INPUTS.annotation_files(SETTINGS.annotation_files("retrieval")),
    output:
        metrics="<results>/comparisons/{cell}/{seed}/zero_shot_retrieval/metrics.json",
        dropped="<results>/comparisons/{cell}/{seed}/zero_shot_retrieval/dropped.csv",
        baselines="<results>/comparisons/{cell}/{seed}/zero_shot_retrieval/baselines.json",
    log:
        "<logs>/zero_shot_cell/{cell}-{seed}.log",
    benchmark:
        "<times>/zero_shot_cell/{cell}-{seed}.tsv"
    wildcard_constraints:
        cell=any_of(COMPARISONS.cells),
        seed=r"\d+",
    params:
        model=lambda wildcards, resources: COMPARISONS.start(wildcards.cell, int(wildcards.seed)),


rule comparisons:
    """The paper's comparisons, and the page."""
    input:
        "<results>/report/comparisons.json",
        "<results>/report/index.html",


rule compare_cells:
    """Every cell over its seeds, equal budgets demanded, and whether what Lu et al. 2019 found is seen here."""
    input:
        lambda wildcards: COMPARISONS.files(),
    output:
        findings=report("<results>/report/findings.csv", caption="../report/findings.rst", category="Comparisons"),
        cells=report("<results>/report/comparisons.csv", caption="../report/comparisons.rst", category="Comparisons"),
        all="<results>/report/comparisons.json",
    log:
        "<logs>/compare_cells.log",
    benchmark:
        "<times>/compare_cells.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(10),
    params:
        plan=lambda wildcards: COMPARISONS.plan(),
    shell:
        "python -m vilbert.comparisons.compare {output} --plan {params.plan:q} > {log} 2>&1"
