# The paper's comparisons: the same data and budget, several seeds, one table.
ARCHITECTURES = ("two_stream", "single_stream")


use rule pretrain as pretrain_variant with:
    output:
        model=directory("<results>/compare/{architecture}-{seed}/model"),
        metrics="<results>/compare/{architecture}-{seed}/metrics.jsonl",
        curves="<results>/compare/{architecture}-{seed}/learning_curves.svg",
    log:
        "<logs>/pretrain_variant/{architecture}-{seed}.log",
    benchmark:
        "<times>/pretrain_variant/{architecture}-{seed}.tsv"
    wildcard_constraints:
        architecture="|".join(ARCHITECTURES),
        seed=r"\d+",
    params:
        checkpoints=f"{RESULTS}/compare/{{architecture}}-{{seed}}/checkpoints",
        model=lambda wildcards: SETTINGS.json("model", architecture=wildcards.architecture),
        settings=lambda wildcards: SETTINGS.json("pretraining", seed=int(wildcards.seed)),
        runtime=SETTINGS.json("runtime"),


rule compare_single_stream:
    """Two streams against one, as in table 1 of the paper, by the metrics of pretraining."""
    input:
        expand(
            "<results>/compare/{architecture}-{seed}/metrics.jsonl",
            architecture=ARCHITECTURES,
            seed=SETTINGS.comparison.seeds,
        ),
    output:
        report("<results>/report/single_stream.csv", caption="../report/single_stream.rst", category="Pretraining"),
    log:
        "<logs>/compare_single_stream.log",
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    shell:
        "python -m vilbert.comparison {input} {output} > {log} 2>&1"
