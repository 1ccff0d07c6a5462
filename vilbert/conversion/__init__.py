"""Weights of others as ours.

In: a checkpoint of vilbert_beta, vilbert-multi-task or MMF, or a BERT for the text stream. Out: a model directory that
`from_pretrained` loads, or the text stream's weights in place.
Commands: `convert`.
"""
