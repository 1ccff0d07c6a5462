# Pairs and features -> a pretrained model.
VALIDATION = SETTINGS.pretraining.validation_split


rule tokenize_captions:
    """Captions as token ids, once for all epochs, and the tokenizer."""
    input:
        pairs="<results>/pairs.parquet",
        tokenizer=INPUTS.tokenizer.input,
    output:
        tokens="<results>/tokens/pairs.parquet",
        tokenizer=directory("<results>/tokens/tokenizer"),
    log:
        "<logs>/tokenize_captions.log",
    benchmark:
        "<times>/tokenize_captions.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(4000),
        runtime=ALLOCATIONS.minutes(60),
    params:
        made_of=compared(SETTINGS.made_of_text()),
        settings=told(SETTINGS.json("text", tokenizer=INPUTS.tokenizer.path)),
    shell:
        "python -m vilbert.batches.tokens {input.pairs} {output.tokens} {output.tokenizer} --settings {params.settings:q} > {log} 2>&1"


rule pretrain:
    """A pretrained model. Started again, it goes on from the last checkpoint."""
    input:
        tokens="<results>/tokens/pairs.parquet",
        tokenizer="<results>/tokens/tokenizer",
        stores=[f"<results>/features/{split}/{shard}.lmdb" for split in SPLITS for shard in SETTINGS.shards(split)],
        text_init=INPUTS.text_init.input,
    output:
        model=directory("<results>/pretrain/model"),
        metrics="<results>/pretrain/metrics.jsonl",
        curves=report(
            "<results>/pretrain/learning_curves.svg", caption="../report/pretraining.rst", category="Pretraining"
        ),
        baselines=report("<results>/pretrain/baselines.json", caption="../report/baselines.rst", category="Pretraining"),
    log:
        "<logs>/pretrain.log",
    benchmark:
        "<times>/pretrain.tsv"
    conda:
        "../../envs/vilbert.yaml"
    threads: ALLOCATIONS.training_threads
    resources:
        **ALLOCATIONS.training(runtime=1440),
    params:
        processes=ALLOCATIONS.processes,
        checkpoints=f"{RESULTS}/pretrain/checkpoints",
        earlier=f"{RESULTS}/earlier",
        made_of=compared(SETTINGS.made_of_pretraining()),
        model=told(SETTINGS.json("model", text_init=INPUTS.text_init.path)),
        settings=told(SETTINGS.json("pretraining")),
        runtime=told(SETTINGS.json("runtime")),
        share=told(""),
    shell:
        "python -m extract.devices {resources.gpu} vilbert.training.launch {resources.nodes} {params.processes}"
        " vilbert.pretraining.pretrain {input.tokens} {input.tokenizer} {input.stores} {output}"
        " --checkpoints {params.checkpoints} --earlier {params.earlier} --model {params.model:q} --settings {params.settings:q}"
        " --runtime {params.runtime:q} {params.share} > {log} 2>&1"
