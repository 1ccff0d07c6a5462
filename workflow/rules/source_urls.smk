# A caption list that lies somewhere else, with the urls of its images.
CAPTION_LIST = "<results>/lists/{split}.tsv"
SITE = []
PUBLISHED = [f"<results>/lists/{split}.tsv" for split in SPLITS]


include: "source_list.smk"


rule fetch_caption_list:
    """The caption list, as it was published."""
    output:
        "<results>/lists/{split}.tsv",
    log:
        "<logs>/fetch_caption_list/{split}.log",
    benchmark:
        "<times>/fetch_caption_list/{split}.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(60),
    params:
        url=lambda wildcards: SETTINGS.source.splits[wildcards.split].url,
        digest=lambda wildcards, resources: digest_option(SETTINGS.source.splits[wildcards.split].sha256),
    shell:
        "python -m extract.download.published_file {params.url:q} {output} {params.digest} > {log} 2>&1"
