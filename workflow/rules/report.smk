# What the run did, for `snakemake --report`.


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
        runtime=scaled(30),
    params:
        run=subpath(input.summary, parent=True),
        directory=subpath(output.stages, parent=True),
    shell:
        "python -m extract.report {params.run} {params.directory} > {log} 2>&1"
