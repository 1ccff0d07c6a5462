# All that comes from outside, for nodes without a network.


localrules:
    fetch,
    fetch_images,


rule fetch:
    """What the settings name of elsewhere, and the images of published tars, so that no later job needs a network.

    But for the downloads of a list of urls, which are most of such a run.
    """
    input:
        PUBLISHED,
        DETECTOR.input if SETTINGS.fetches_detector else [],
        [named.input for named in (INPUTS.tokenizer, INPUTS.text_init) if named.is_made],


rule fetch_images:
    """The same with the images of all urls."""
    input:
        rules.fetch.input,
        [f"<results>/images/{split}/{shard}.tar" for split in SPLITS for shard in SETTINGS.shards(split)],


rule fetch_tokenizer:
    """A tokenizer that a hub has."""
    output:
        directory("<results>/hub/tokenizer"),
    log:
        "<logs>/fetch_tokenizer.log",
    benchmark:
        "<times>/fetch_tokenizer.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(60),
    params:
        name=compared(SETTINGS.text.tokenizer),
        settings=told(SETTINGS.json("text")),
    shell:
        "python -m vilbert.conversion.hub tokenizer {output} --settings {params.settings:q} > {log} 2>&1"


rule fetch_text_init:
    """The BERT that a hub has."""
    output:
        directory("<results>/hub/text_init"),
    log:
        "<logs>/fetch_text_init.log",
    benchmark:
        "<times>/fetch_text_init.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(60),
    params:
        name=compared(SETTINGS.model.text_init),
        settings=told(SETTINGS.json("model")),
    shell:
        "python -m vilbert.conversion.hub text_init {output} --settings {params.settings:q} > {log} 2>&1"
