# A model that scores pairs -> a dual encoder, an index of all images, and what a search of it finds.
ALL_STORES = [f"<results>/features/{split}/{shard}.lmdb" for split in SPLITS for shard in SETTINGS.shards(split)]
SPLITS_OF_SEARCH = (
    f"--train-split {SETTINGS.pretraining.train_split} --validation-split {SETTINGS.pretraining.validation_split}"
)


localrules:
    search,


rule search:
    """A dual encoder, an index of all images of the run, and what its search finds and costs."""
    input:
        "<results>/search/index",
        "<results>/report/search.csv",
        "<results>/report/search.svg",
        "<results>/report/index.html",


rule distil_retriever:
    """A dual encoder that learns from the scores of a model. Started again, it goes on from the last checkpoint."""
    input:
        pairs="<results>/pairs.parquet",
        teacher=INPUTS.teacher.input,
        stores=ALL_STORES,
    output:
        model=directory("<results>/search/model"),
        metrics="<results>/search/metrics.jsonl",
    log:
        "<logs>/distil_retriever.log",
    benchmark:
        "<times>/distil_retriever.tsv"
    conda:
        "../../envs/vilbert.yaml"
    threads: ALLOCATIONS.training_threads
    resources:
        **ALLOCATIONS.training(runtime=1440),
    params:
        processes=ALLOCATIONS.processes,
        checkpoints=f"{RESULTS}/search/checkpoints",
        earlier=f"{RESULTS}/earlier",
        scores=f"{RESULTS}/search/teacher",
        splits=SPLITS_OF_SEARCH,
        made_of=compared(SETTINGS.made_of_distillation()),
        teacher=told(INPUTS.teacher.path),
        settings=told(SETTINGS.json("search")),
        runtime=told(SETTINGS.json("runtime")),
    shell:
        "python -m extract.devices {resources.gpu} vilbert.training.launch {resources.nodes} {params.processes}"
        " vilbert.search.distil {input.pairs} {params.teacher:q} {input.stores} {output}"
        " --checkpoints {params.checkpoints} --earlier {params.earlier} --scores {params.scores} {params.splits}"
        " --settings {params.settings:q} --runtime {params.runtime:q} > {log} 2>&1"


rule embed_images:
    """The embeddings of the images of a shard."""
    input:
        model="<results>/search/model",
        store="<results>/features/{split}/{shard}.lmdb",
    output:
        "<results>/search/embeddings/{split}/{shard}.npz",
    log:
        "<logs>/embed_images/{split}/{shard}.log",
    benchmark:
        "<times>/embed_images/{split}/{shard}.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        **ALLOCATIONS.scoring(runtime=60),
    shell:
        "python -m extract.devices {resources.gpu} vilbert.search.embed {input.model} {input.store} {output} > {log} 2>&1"


rule build_index:
    """An index of all images of the run."""
    input:
        model="<results>/search/model",
        embeddings=[
            f"<results>/search/embeddings/{split}/{shard}.npz" for split in SPLITS for shard in SETTINGS.shards(split)
        ],
        stores=ALL_STORES,
        tars=[f"<results>/images/{split}/{shard}.tar" for split in SPLITS for shard in SETTINGS.shards(split)],
    output:
        directory("<results>/search/index"),
    log:
        "<logs>/build_index.log",
    benchmark:
        "<times>/build_index.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(4000),
        runtime=ALLOCATIONS.minutes(60),
    params:
        kind=SETTINGS.search.index,
        stores=lambda wildcards, input: [f"--store {store}" for store in input.stores],
        tars=lambda wildcards, input: [f"--tar {tar}" for tar in input.tars],
    shell:
        "python -m vilbert.search.index {input.model} {output} {input.embeddings} {params.stores} {params.tars}"
        " --kind {params.kind:q} > {log} 2>&1"


rule score_every_pair:
    """Every caption that a search is measured with, and every image, by the model that the search learns from."""
    input:
        pairs="<results>/pairs.parquet",
        teacher=INPUTS.teacher.input,
        stores=ALL_STORES,
    output:
        "<results>/search/every_pair.npz",
    log:
        "<logs>/score_every_pair.log",
    benchmark:
        "<times>/score_every_pair.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        **ALLOCATIONS.scoring(runtime=600),
    params:
        splits=SPLITS_OF_SEARCH,
        made_of=compared(SETTINGS.made_of_searched()),
        teacher=told(INPUTS.teacher.path),
        settings=told(SETTINGS.json("search")),
    shell:
        "python -m extract.devices {resources.gpu} vilbert.search.every_pair {input.pairs} {params.teacher:q} {input.stores}"
        " {output} {params.splits} --settings {params.settings:q} > {log} 2>&1"


rule measure_search:
    """Recall of the search, with and without the model that it learns from, and what both cost."""
    input:
        model="<results>/search/model",
        teacher=INPUTS.teacher.input,
        pairs="<results>/pairs.parquet",
        every_pair="<results>/search/every_pair.npz",
        stores=ALL_STORES,
    output:
        report("<results>/report/search.csv", caption="../report/search.rst", category="Search"),
        report("<results>/report/search.svg", caption="../report/search.rst", category="Search"),
    log:
        "<logs>/measure_search.log",
    benchmark:
        "<times>/measure_search.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        **ALLOCATIONS.scoring(runtime=120),
    params:
        splits=SPLITS_OF_SEARCH,
        made_of=compared(SETTINGS.made_of_searched("reranked")),
        teacher=told(INPUTS.teacher.path),
        settings=told(SETTINGS.json("search")),
    shell:
        "python -m extract.devices {resources.gpu} vilbert.search.evaluate {input.model} {params.teacher:q} {input.pairs}"
        " {input.every_pair} {input.stores} {output} {params.splits} --settings {params.settings:q} > {log} 2>&1"
