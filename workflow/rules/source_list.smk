# From a caption list to images, for the kinds drawn and urls, which set CAPTION_LIST and SITE.


rule cut_rows:
    """One shard's rows of a caption list, as they came, with the keys that they keep to the end."""
    input:
        CAPTION_LIST,
    output:
        "<results>/rows/{split}/{shard}.parquet",
    log:
        "<logs>/cut_rows/{split}/{shard}.log",
    benchmark:
        "<times>/cut_rows/{split}/{shard}.tsv"
    group:
        "rows"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(10),
    params:
        rows=lambda wildcards: SETTINGS.rows_of(wildcards.split, wildcards.shard),
    shell:
        "python -m extract.captions.rows {input} {output} --split {wildcards.split} {params.rows} > {log} 2>&1"


rule download:
    """The images of a shard. What arrived is kept in a journal, so a killed job fetches only what it lacks."""
    input:
        rows="<results>/rows/{split}/{shard}.parquet",
        captions=ancient("<results>/captions/{split}/{shard}.parquet"),
        site=SITE,
    output:
        tar="<results>/images/{split}/{shard}.tar",
        table="<results>/images/{split}/{shard}.parquet",
        stats="<results>/images/{split}/{shard}_stats.json",
    log:
        "<logs>/download/{split}/{shard}.log",
    benchmark:
        "<times>/download/{split}/{shard}.tsv"
    group:
        "images"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=240,  # another attempt goes on from the journal
        downloads=1,
    params:
        made_of=compared(SETTINGS.made_of("download")),
        settings=told(SETTINGS.json("download")),
        journal=f"{RESULTS}/journals/{{split}}/{{shard}}",
        site=lambda wildcards, input: f"--site {input.site}" if input.site else "",
    shell:
        "python -m extract.download.shard {input.rows} {input.captions} {output} --journal {params.journal} {params.site}"
        " --settings {params.settings:q} > {log} 2>&1"
