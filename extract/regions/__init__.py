"""From a detector's proposals to the feature store, which is all that `vilbert` sees of an image.

In: a shard's images and a detector. Out: a store of the regions that the paper's rule selects, its manifest, and how
many were confident in each image (`features/`).
Commands: `extract`; `given_boxes` stores boxes that annotations name; `inspect` shows what a store holds.
"""
