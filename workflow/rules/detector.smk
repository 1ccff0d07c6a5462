# The detector: trained on the drawn world's boxes, or weights that are there already.
DETECTOR = INPUTS.detector


if SETTINGS.detector.weights is None:

    rule train_detector:
        """A small Faster R-CNN, from scratch."""
        input:
            site="<results>/world/site",
            train=f"<results>/world/boxes/{SETTINGS.pretraining.train_split}.json",
            val=f"<results>/world/boxes/{SETTINGS.pretraining.validation_split}.json",
        output:
            model="<results>/detector/model.safetensors",
            metrics="<results>/detector/metrics.json",
        log:
            "<logs>/train_detector.log",
        benchmark:
            "<times>/train_detector.tsv"
        conda:
            "../../envs/vilbert.yaml"
        threads: 2
        resources:
            **ALLOCATIONS.detecting(runtime=60),
        params:
            dtype=SETTINGS.detector.dtype,
            made_of=compared(SETTINGS.made_of("detector_training")),
            detector=told(SETTINGS.json("detector")),
            training=told(SETTINGS.json("detector_training")),
        shell:
            "python -m extract.devices {resources.gpu} extract.detection.train {input} {output} --detector {params.detector:q}"
            " --training {params.training:q} > {log} 2>&1"


if SETTINGS.fetches_detector:

    rule fetch_detector:
        """Published weights, checked."""
        output:
            DETECTOR.path,
        log:
            "<logs>/fetch_detector.log",
        benchmark:
            "<times>/fetch_detector.tsv"
        conda:
            "../../envs/vilbert.yaml"
        resources:
            mem_mb=scaled(1000),
            runtime=ALLOCATIONS.minutes(60),
        params:
            url=compared(SETTINGS.detector.bottom_up.url),
            digest=told(digest_option(SETTINGS.detector.bottom_up.sha256)),
        shell:
            "python -m extract.download.published_file {params.url:q} {output:q} {params.digest} > {log} 2>&1"
