"""Weights of others as ours, and ours as a graph for others.

In: a checkpoint of vilbert_beta, vilbert-multi-task or MMF, or a BERT for the text stream. Out: a model directory that
`from_pretrained` loads, or the text stream's weights in place; and of a model directory a graph, `.onnx` or `.pt2`.
Commands: `convert`, `export`.
"""
