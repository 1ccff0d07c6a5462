# How good the cleaning is, where a key says what is bad.


rule score_cleaning:
    """Precision and recall of the cleaning for each kind of planted noise."""
    input:
        key="<results>/world/key.csv",
        pairs="<results>/pairs.parquet",
        dropped="<results>/dropped.parquet",
    output:
        report("<results>/report/cleaning_score.csv", caption="../report/cleaning_score.rst", category="Cleaning"),
    log:
        "<logs>/score_cleaning.log",
    benchmark:
        "<times>/score_cleaning.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(10),
    shell:
        "python -m extract.cleaning.score {input} {output} > {log} 2>&1"
