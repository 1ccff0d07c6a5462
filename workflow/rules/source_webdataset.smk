# Published webdataset shards, which hold the images already.
PUBLISHED = [f"<results>/images/{split}/{shard}.tar" for split in SPLITS for shard in SETTINGS.shards(split)]


rule fetch_tar:
    """One published tar. It goes when its images are imported."""
    output:
        temp("<results>/published/{split}/{shard}.tar"),
    log:
        "<logs>/fetch_tar/{split}/{shard}.log",
    benchmark:
        "<times>/fetch_tar/{split}/{shard}.tsv"
    group:
        "images"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(60, together=IMAGES_MINUTES),
        downloads=1,
    params:
        url=lambda wildcards: SETTINGS.source.splits[wildcards.split].url.format(shard=int(wildcards.shard)),
    shell:
        "python -m extract.download.published_file {params.url:q} {output} > {log} 2>&1"


rule import_webdataset:
    """One published tar as rows and images, through the same checks as a download."""
    input:
        "<results>/published/{split}/{shard}.tar",
    output:
        rows="<results>/rows/{split}/{shard}.parquet",
        tar="<results>/images/{split}/{shard}.tar",
        table="<results>/images/{split}/{shard}.parquet",
        stats="<results>/images/{split}/{shard}_stats.json",
    log:
        "<logs>/import_webdataset/{split}/{shard}.log",
    benchmark:
        "<times>/import_webdataset/{split}/{shard}.tsv"
    group:
        "images"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(60, together=IMAGES_MINUTES),
    params:
        first_row=lambda wildcards: int(wildcards.shard) * SETTINGS.source.rows_per_shard,
        max_rows=SETTINGS.source.rows_per_shard,
        url=lambda wildcards: SETTINGS.source.splits[wildcards.split].url,  # the tar itself is gone by then
        limits=SETTINGS.image_limits(),
    shell:
        "python -m extract.download.webdataset {input} {output} --split {wildcards.split} --first-row {params.first_row}"
        " --max-rows {params.max_rows} {params.limits} > {log} 2>&1"
