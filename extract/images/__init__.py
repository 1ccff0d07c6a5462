"""What the images are, by their pixels alone.

In: a shard's tar and its table. Out: for each image its size, contrast and perceptual hash, or the rule that drops it
(`checks/`), and which images of all shards are the same picture (`duplicates.parquet`).
Commands: `checks`, `duplicates`. `decoding` is how every stage reads an image, `decoder` the process in which it
is read first.
"""
