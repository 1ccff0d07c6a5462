"""What a run shows of its models.

In: models, their predictions and measures, the pictures that they are of. Out: pictures and what was asked and answered
of each (`report/examples/`).
Commands: `examples` of a fine-tuned task, `attention` of the pretrained model.
"""
