# The drawn world: scenes of coloured shapes, their captions, and a server that answers as the web does.
CAPTION_LIST = "<results>/world/{split}.tsv"
PUBLISHED = []
SITE = "<results>/world/site" if SETTINGS.download.mirror == "site" else []


include: "source_list.smk"
include: "score.smk"


rule draw_world:
    """Scenes, captions, boxes, and a key that says which rows are bad on purpose."""
    output:
        captions=[f"<results>/world/{split}.tsv" for split in SPLITS],
        boxes=[f"<results>/world/boxes/{split}.json" for split in SPLITS],
        site=directory("<results>/world/site"),
        key="<results>/world/key.csv",
        sheet=report(
            "<results>/world/contact_sheet.png", caption="../report/contact_sheet.rst", category="The drawn world"
        ),
    log:
        "<logs>/draw_world.log",
    benchmark:
        "<times>/draw_world.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(2000),
        runtime=ALLOCATIONS.minutes(30),
    params:
        directory=subpath(output.key, parent=True),
        made_of=compared(SETTINGS.made_of("world", without=("num_task_images",))),
        settings=told(SETTINGS.json("world")),
        splits=json.dumps({name: split.num_rows for name, split in SETTINGS.source.splits.items()}),
        train_split=SETTINGS.pretraining.train_split,
    shell:
        "python -m extract.drawn.world {params.directory} --settings {params.settings:q} --splits {params.splits:q}"
        " --train-split {params.train_split} > {log} 2>&1"


rule draw_tasks:
    """Questions, expressions and captions of other scenes, in the real data sets' file formats."""
    output:
        directory("<results>/tasks"),
    log:
        "<logs>/draw_tasks.log",
    benchmark:
        "<times>/draw_tasks.tsv"
    conda:
        "../../envs/vilbert.yaml"
    resources:
        mem_mb=scaled(1000),
        runtime=ALLOCATIONS.minutes(30),
    params:
        made_of=compared(SETTINGS.made_of("world", without=("noise", "captions_per_image"))),
        settings=told(SETTINGS.json("world")),
    shell:
        "python -m extract.drawn.tasks {output} --settings {params.settings:q} > {log} 2>&1"
