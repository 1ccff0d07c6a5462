"""How well every caption fits every image.

In: a pretraining or retrieval model, captions as ids, images as regions. Out: a score a pair, the same as that of a
forward pass a pair, and the rank of what is right.
Commands: none.
"""
