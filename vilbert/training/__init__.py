"""One training, whatever is learnt: from a model, a data set and settings to a trained model.

In: a data set that makes batches, how many items each loss is a mean of, and an evaluator. Out: the model, checkpoints
that a killed training goes on from, and a line of metrics a log step (`metrics.jsonl`). `loop` is the training, top to
bottom, on accelerate; `feed` makes its batches ahead, `checkpoints` are whole or not there, `metrics` is what it says.
Commands: `launch` starts a training on one device or many; `learning_curves` draws its metrics.
"""
