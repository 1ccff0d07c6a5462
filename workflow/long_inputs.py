"""Rules that gather thousands of shards: whether a file is among their inputs, by its hash.

Snakemake 9.27 asks that of the rule that makes a file for each job that reads it, and looks through a list. Where a
rule gathers all shards, and a job of each shard reads what it makes, this is the square of their number.
"""

from typing import Any

from snakemake.iocontainers import InputFiles

MANY = 100  # below, looking through a list is as quick


def find_inputs_by_hash() -> None:
    """Take the place of a list's own search, which finds the same: inputs are put together once and do not change."""
    InputFiles.__contains__ = has


def has(inputs: InputFiles, file: Any) -> bool:
    if len(inputs) < MANY:
        return list.__contains__(inputs, file)
    if "_files" not in vars(inputs):
        inputs._files = frozenset(inputs)
    return file in inputs._files
