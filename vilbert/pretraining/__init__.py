"""Pretraining: masked tokens, masked regions, alignment.

In: captions as ids, and the feature stores. Out: a pretrained model, its metrics and learning curves (`pretrain/`), and
a picture of what it retrieves (`report/retrieved.png`).
Commands: `pretrain`, `untrained`, which writes what a pretraining would start from, `retrieval_pictures`.
"""
