"""Measures and predictions of a new model on a task, by as many processes as were started, for a test."""

import json
import sys
from pathlib import Path

import torch
import yaml
from accelerate import Accelerator
from places import ROOT

from extract.regions.store import RegionStore
from vilbert.conversion.convert import MODELS
from vilbert.model.directory import read_processor
from vilbert.settings import FinetuningSettings
from vilbert.tasks.finetune import TaskEvaluator, build_task_model
from vilbert.tasks.table import TASKS
from vilbert.tasks.task import TaskSource

if __name__ == "__main__":
    task, (model, detected, given, annotations, out) = sys.argv[1], map(Path, sys.argv[2:])
    accelerator = Accelerator(cpu=True)
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())["finetuning"]
    source = TaskSource(
        annotations=annotations,
        store=RegionStore([detected]),
        given=RegionStore([given]) if task in ("vcr", "refcoco") else None,
        turned=frozenset(),
        processor=read_processor(model),
        settings=FinetuningSettings.model_validate(settings | {"vqa": settings["vqa"] | {"min_answer_count": 3}}),
        cache=out,
    )
    data = TASKS[task](source)
    torch.manual_seed(3)
    network = build_task_model(MODELS[task], model, answers=data.answers, are_answers_given=False)
    network = network.to(accelerator.device)
    num_texts = 0

    def count(module, inputs, output):
        global num_texts
        num_texts += len(output)

    network.base_model.text_embeddings.register_forward_hook(count)
    evaluator = TaskEvaluator(data)
    with torch.inference_mode():
        measures = evaluator(network.eval())
    evaluator.complete(network)
    known = {"measures": measures, "num_texts": num_texts}
    (out / f"{accelerator.process_index}.json").write_text(json.dumps(known))
    if accelerator.is_main_process:
        evaluator.write(out / "predictions")
    accelerator.end_training()
