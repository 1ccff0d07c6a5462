# Your own pictures: a folder, and a csv of captions a split, as `python -m extract.captions.csv_lists` writes them.
PUBLISHED = []


rule import_folder:
    """The rows of one shard of a csv and their pictures, through the same checks as a download."""
    input:
        lambda wildcards: INPUTS.shard_of_folder(wildcards.split, wildcards.shard),
    output:
        rows="<results>/rows/{split}/{shard}.parquet",
        tar="<results>/images/{split}/{shard}.tar",
        table="<results>/images/{split}/{shard}.parquet",
        stats="<results>/images/{split}/{shard}_stats.json",
    log:
        "<logs>/import_folder/{split}/{shard}.log",
    benchmark:
        "<times>/import_folder/{split}/{shard}.tsv"
    group:
        "images"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(60, together=IMAGES_MINUTES),
    params:
        captions=lambda wildcards, resources: SETTINGS.source.splits[wildcards.split].url,
        pictures=told(SETTINGS.source.pictures),
        rows=lambda wildcards: SETTINGS.rows_of(wildcards.split, wildcards.shard),
        limits=SETTINGS.image_limits(),
    shell:
        "python -m extract.download.captioned_folder {params.captions:q} {params.pictures:q} {output}"
        " --split {wildcards.split} {params.rows} {params.limits} > {log} 2>&1"
