"""What becomes of each row of the caption list.

In: the tables of captions, images, checks, duplicates and regions. Out: each row kept or dropped by the first stage
that objects (`pairs/`), then of all shards the kept pairs, the dropped rows and how many of each (`pairs.parquet`,
`dropped.parquet`, `summary.json`).
Commands: `pairs`, `collect`; `score` compares with the drawn world's key.
"""
