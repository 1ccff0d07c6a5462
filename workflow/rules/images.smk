# The image rules, over what arrived.
SHARDS_BY_PRIORITY = [f"{split}/{shard}" for split in SETTINGS.splits_by_priority() for shard in SETTINGS.shards(split)]


rule check_images:
    """Size, shape, contrast and perceptual hash of each image, and a reason for each that is dropped."""
    input:
        tar="<results>/images/{split}/{shard}.tar",
        table="<results>/images/{split}/{shard}.parquet",
    output:
        "<results>/checks/{split}/{shard}.parquet",
    log:
        "<logs>/check_images/{split}/{shard}.log",
    benchmark:
        "<times>/check_images/{split}/{shard}.tsv"
    group:
        "images"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(60, together=IMAGES_MINUTES),
    params:
        made_of=compared(SETTINGS.made_of("images")),
        settings=told(SETTINGS.json("images")),
    shell:
        "python -m extract.images.checks {input} {output} --settings {params.settings:q} > {log} 2>&1"


rule find_duplicates:
    """The same picture twice, anywhere: evaluation splits keep theirs."""
    input:
        expand("<results>/{stage}/{shard}.parquet", stage=("captions", "images", "checks"), shard=SHARDS_BY_PRIORITY),
    output:
        "<results>/duplicates.parquet",
    log:
        "<logs>/find_duplicates.log",
    benchmark:
        "<times>/find_duplicates.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(4000),
        runtime=ALLOCATIONS.minutes(60),
    params:
        run=lambda wildcards, input: Path(input[0]).parents[2],
        shards=SHARDS_BY_PRIORITY,
        made_of=compared(SETTINGS.made_of("duplicates")),
        settings=told(SETTINGS.json("duplicates")),
    shell:
        "python -m extract.images.duplicates {output} {params.run} {params.shards} --settings {params.settings:q} > {log} 2>&1"
