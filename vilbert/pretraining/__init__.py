"""Pretraining: masked tokens, masked regions, alignment.

In: captions as ids, and the feature stores. Out: a pretrained model, its metrics, learning curves and what these are
read against (`pretrain/`).
Commands: `pretrain`, `untrained`, which writes what a pretraining would start from.
"""
