# Images -> confident regions and their features, one store a shard.


rule extract_regions:
    """Detect, select, pool, store: for every image that decodes, so that no cleaning rule comes back here."""
    input:
        tar="<results>/images/{split}/{shard}.tar",
        table="<results>/images/{split}/{shard}.parquet",
        detector=DETECTOR.input,
        names=INPUTS.names,
    output:
        store="<results>/features/{split}/{shard}.lmdb",
        manifest="<results>/features/{split}/{shard}.json",
        counts="<results>/features/{split}/{shard}.parquet",
    log:
        "<logs>/extract_regions/{split}/{shard}.log",
    benchmark:
        "<times>/extract_regions/{split}/{shard}.tsv"
    conda:
        "../../envs/vilbert.yaml"
    threads: ALLOCATIONS.detecting_threads
    resources:
        **ALLOCATIONS.detecting(runtime=240),
    params:
        made_of=compared(SETTINGS.made_of("detector", "selection", "store")),
        weights=told(DETECTOR.path),
        detector=told(SETTINGS.json("detector")),
        selection=told(SETTINGS.json("selection")),
        store=told(SETTINGS.json("store")),
    shell:
        "python -m extract.devices {resources.gpu} extract.regions.extract {input.tar} {input.table} {params.weights:q}"
        " {output} --threads {threads} --detector {params.detector:q} --selection {params.selection:q}"
        " --store {params.store:q} > {log} 2>&1"
