"""One file a task: its published files as examples, its batches, its official measure.

In: annotations as they were published, the feature stores of their images, a pretrained model. Out: a model a task with
its metrics, its predictions, and a table of the annotations that it left out (`finetune/`, `zero_shot_retrieval/`).
Commands: `finetune`, `zero_shot`; `results` makes one table of all tasks. `table` is the one place that knows them all.
"""
