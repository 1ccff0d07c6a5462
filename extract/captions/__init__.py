"""What the captions say, before any image is there.

In: a caption list. Out: its rows by shard, how often each caption and word stands in a split, and for each row its
repaired caption or the rule that drops it (`rows/`, `counts/`, `captions/`).
Commands: `rows`, `counts`, `rules`; `csv_lists` makes the lists of a csv of your own.
"""
