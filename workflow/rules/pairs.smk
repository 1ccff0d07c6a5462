# Every row's fate: kept, or the first stage that dropped it, and why.


rule judge_pairs:
    """One row a row of the caption list: kept or dropped, by which rule, for which value."""
    input:
        rows="<results>/rows/{split}/{shard}.parquet",
        captions="<results>/captions/{split}/{shard}.parquet",
        table="<results>/images/{split}/{shard}.parquet",
        checks="<results>/checks/{split}/{shard}.parquet",
        duplicates="<results>/duplicates.parquet",
        counts="<results>/features/{split}/{shard}.parquet",
        store="<results>/features/{split}/{shard}.lmdb",
        words="<results>/counts/{split}/words.parquet",
    output:
        "<results>/pairs/{split}/{shard}.parquet",
    log:
        "<logs>/judge_pairs/{split}/{shard}.log",
    benchmark:
        "<times>/judge_pairs/{split}/{shard}.tsv"
    group:
        "pairs"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(60),
    params:
        made_of=compared(SETTINGS.made_of("relatedness")),
        settings=told(SETTINGS.json("relatedness")),
    shell:
        "python -m extract.cleaning.pairs {input} {output} --settings {params.settings:q} > {log} 2>&1"


rule collect_pairs:
    """The clean pairs of all shards, the dropped rows, and the counts."""
    input:
        [f"<results>/pairs/{split}/{shard}.parquet" for split in SPLITS for shard in SETTINGS.shards(split)],
    output:
        pairs="<results>/pairs.parquet",
        dropped="<results>/dropped.parquet",
        summary="<results>/summary.json",
    log:
        "<logs>/collect_pairs.log",
    benchmark:
        "<times>/collect_pairs.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(4000),
        runtime=ALLOCATIONS.minutes(30),
    shell:
        "python -m extract.cleaning.collect {output} {input} > {log} 2>&1"
