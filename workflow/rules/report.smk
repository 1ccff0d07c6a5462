# What the run did: a page of its own, and for `snakemake --report`.
EXAMPLES = "<results>/report/examples"
SHOWN = {  # what the page waits for, by what is asked for; it shows all that is there
    "features": ["<results>/report/dropped.csv"],
    "all": [
        "<results>/report/dropped.csv",
        "<results>/pretrain/baselines.json",
        f"{EXAMPLES}/pretraining",
        *([f"{EXAMPLES}/attention"] if HAS_ATTENTION else []),
    ],
    "finetune": [
        "<results>/report/finetuning.csv",
        *([f"{EXAMPLES}/{task}" for task in SETTINGS.finetuning.given()] if HAS_PICTURES else []),
    ],
    "zero_shot_retrieval": ["<results>/zero_shot_retrieval/baselines.json"],
    "probe": ["<results>/report/probes.csv"],
    "search": ["<results>/report/search.csv"],
    "comparisons": ["<results>/report/comparisons.json"],
}
if SETTINGS.source.kind == "drawn":
    for target in ("features", "all"):
        SHOWN[target].append("<results>/report/cleaning_score.csv")


localrules:
    make_page,


rule describe_features:
    """What was dropped and why, sample images with their boxes, histograms."""
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
    log:
        "<logs>/describe_features.log",
    benchmark:
        "<times>/describe_features.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(30),
    params:
        run=subpath(input.summary, parent=True),
        directory=subpath(output.counts, parent=True),
        stores=lambda wildcards, input: [f"--store {store}" for store in input.stores],
        tars=lambda wildcards, input: [f"--tar {tar}" for tar in input.tars],
    shell:
        "python -m extract.report.describe {params.run} {params.directory} {params.stores} {params.tars} > {log} 2>&1"


rule make_page:
    """All that the run has come to on one page, and its numbers.

    By the process that knows what is asked for: on a cluster the one that submits.
    """
    input:
        lambda wildcards: [  # what is asked for is known when jobs are made, not when rules are read
            file
            for target in sorted(SHOWN.keys() & workflow.dag_settings.targets or {"all"})
            for file in SHOWN[target]
        ],
    output:
        page="<results>/report/index.html",
        numbers="<results>/report/numbers.json",
    log:
        "<logs>/make_page.log",
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(10),
    params:
        run=subpath(output.page, ancestor=2),
    shell:
        "python -m vilbert.report.page {params.run} > {log} 2>&1"
