# The caption rules, before anything is downloaded.


rule count_captions:
    """How often each caption and each word stands in a split."""
    input:
        lambda wildcards: expand(
            "<results>/rows/{split}/{shard}.parquet", split=wildcards.split, shard=SETTINGS.shards(wildcards.split)
        ),
    output:
        captions="<results>/counts/{split}/captions.parquet",
        words="<results>/counts/{split}/words.parquet",
    log:
        "<logs>/count_captions/{split}.log",
    benchmark:
        "<times>/count_captions/{split}.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(4000),
        runtime=ALLOCATIONS.minutes(30),
    shell:
        "python -m extract.captions.counts {output} {input} > {log} 2>&1"


rule clean_captions:
    """Captions repaired, and a reason for each that is dropped."""
    input:
        rows="<results>/rows/{split}/{shard}.parquet",
        counts="<results>/counts/{split}/captions.parquet",
    output:
        "<results>/captions/{split}/{shard}.parquet",
    log:
        "<logs>/clean_captions/{split}/{shard}.log",
    benchmark:
        "<times>/clean_captions/{split}/{shard}.tsv"
    group:
        "captions"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(15),
    params:
        made_of=compared(SETTINGS.made_of("captions")),
        settings=told(SETTINGS.json("captions")),
    shell:
        "python -m extract.captions.rules {input} {output} --settings {params.settings:q} > {log} 2>&1"
