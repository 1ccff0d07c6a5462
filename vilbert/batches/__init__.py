"""From captions and regions to padded batches.

In: the clean pairs, and the records of the feature stores. Out: captions as ids (`tokens/`), which examples make up
each step, what is hidden of each, and tensors of one length.
Commands: `tokens`.
"""
