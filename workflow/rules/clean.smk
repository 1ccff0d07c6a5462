# What a changed shard size and killed jobs leave behind.
FETCHED = ["--fetched", DETECTOR.path] if SETTINGS.fetches_detector else []


localrules:
    list_stale,
    clean_stale,


rule list_stale:
    """Print what no rule would make: shards that the run has no more, and what killed jobs left half written."""
    log:
        "<logs>/list_stale.log",
    conda:
        "../../envs/vilbert.yaml"
    params:
        run=RESULTS,
        shards=SHARDS_BY_PRIORITY,
        fetched=FETCHED,
        option="",
    shell:
        "python -m extract.report.stale {params.run} {params.shards} {params.fetched:q} {params.option} 2> {log}"


use rule list_stale as clean_stale with:
    log:
        "<logs>/clean_stale.log",
    params:
        run=RESULTS,
        shards=SHARDS_BY_PRIORITY,
        fetched=FETCHED,
        option="--remove",
