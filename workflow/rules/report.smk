# What the run did: a page of its own, and for `snakemake --report`.
PAGE = [  # heading, file, caption
    ("What the model learnt", "<results>/report/retrieved.png", "retrieved"),
    ("What the model learnt", "<results>/pretrain/baselines.json", "baselines"),
    ("What the model learnt", "<results>/pretrain/learning_curves.svg", "pretraining"),
    ("What the model learnt", "<results>/pretrain/metrics.jsonl", "last_evaluation"),
    ("Regions", "<results>/report/regions.png", "regions"),
    ("Regions", "<results>/report/region_counts.svg", "region_counts"),
    ("Cleaning", "<results>/report/dropped.svg", "dropped"),
    ("Cleaning", "<results>/report/dropped.csv", "dropped_table"),
    ("Cleaning", "<results>/report/relatedness.svg", "relatedness"),
    ("Cleaning", "<results>/report/caption_lengths.svg", "captions"),
    ("Times and sizes", "<results>/report/stages.csv", "stages"),
]
if SETTINGS.source.kind == "drawn":
    PAGE.insert(-1, ("Cleaning", "<results>/report/cleaning_score.csv", "cleaning_score"))


rule describe_features:
    """What was dropped and why, sample images with their boxes, histograms, times and sizes."""
    input:
        summary="<results>/summary.json",
        pairs="<results>/pairs.parquet",
        dropped="<results>/dropped.parquet",
        tars=[f"<results>/images/{split}/{shard}.tar" for split in SPLITS for shard in SETTINGS.shards(split)],
        stores=[f"<results>/features/{split}/{shard}.lmdb" for split in SPLITS for shard in SETTINGS.shards(split)],
    output:
        counts=report("<results>/report/dropped.csv", caption="../report/dropped.rst", category="Cleaning"),
        bars=report("<results>/report/dropped.svg", caption="../report/dropped.rst", category="Cleaning"),
        samples=report(
            "<results>/report/dropped_samples.html", caption="../report/dropped_samples.rst", category="Cleaning"
        ),
        relatedness=report("<results>/report/relatedness.svg", caption="../report/relatedness.rst", category="Cleaning"),
        captions=report("<results>/report/caption_lengths.svg", caption="../report/captions.rst", category="Pairs"),
        regions=report("<results>/report/regions.png", caption="../report/regions.rst", category="Regions"),
        region_counts=report(
            "<results>/report/region_counts.svg", caption="../report/region_counts.rst", category="Regions"
        ),
        stages=report("<results>/report/stages.csv", caption="../report/stages.rst", category="Times and sizes"),
    log:
        "<logs>/describe_features.log",
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(30),
    params:
        run=subpath(input.summary, parent=True),
        directory=subpath(output.stages, parent=True),
        stores=lambda wildcards, input: [f"--store {store}" for store in input.stores],
        tars=lambda wildcards, input: [f"--tar {tar}" for tar in input.tars],
    shell:
        "python -m extract.report.describe {params.run} {params.directory} {params.stores} {params.tars} > {log} 2>&1"


rule make_page:
    """All of it on one page, to look at without Snakemake."""
    input:
        files=[file for _, file, _ in PAGE],
        captions=[f"{workflow.basedir}/workflow/report/{caption}.rst" for _, _, caption in PAGE],
    output:
        "<results>/report/index.html",
    log:
        "<logs>/make_page.log",
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(10),
    params:
        title=f"ViLBERT: the run '{SETTINGS.run}'",
        parts=lambda wildcards, input: json.dumps(
            [
                {"section": section, "file": file, "caption": caption}
                for (section, _, _), file, caption in zip(PAGE, input.files, input.captions, strict=True)
            ]
        ),
    shell:
        "python -m extract.report.page {output} --title {params.title:q} --parts {params.parts:q} > {log} 2>&1"
