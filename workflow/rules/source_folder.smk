# Your own pictures: a folder, and a csv of captions a split, as `python -m extract.captions.csv_lists` writes them.


rule import_folder:
    """The rows of one shard of a csv and their pictures, through the same checks as a download."""
    input:
        captions=lambda wildcards: SETTINGS.source.splits[wildcards.split].url,
        pictures=SETTINGS.source.pictures,
    output:
        rows="<results>/rows/{split}/{shard}.parquet",
        tar="<results>/images/{split}/{shard}.tar",
        table="<results>/images/{split}/{shard}.parquet",
        stats="<results>/images/{split}/{shard}_stats.json",
    log:
        "<logs>/import_folder/{split}/{shard}.log",
    benchmark:
        "<times>/import_folder/{split}/{shard}.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(60),
    params:
        source=SETTINGS.json("source"),
        images=SETTINGS.json("download"),
    shell:
        "python -m extract.download.captioned_folder {input} {output} --split {wildcards.split} --shard {wildcards.shard}"
        " --settings {params.source:q} --images {params.images:q} > {log} 2>&1"
