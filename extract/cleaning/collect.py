"""The kept pairs of all shards, the dropped rows, and how many of each: python -m extract.cleaning.collect."""

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from shlex import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from extract.command import run
from extract.tables import PAIRS, read_table, whole_file

STAGES = ("captions", "download", "images", "duplicates", "features", "relatedness")
NUM_SAMPLES = 5  # rows of each split, stage and reason


def main(output_pairs: Path, output_dropped: Path, output_summary: Path, pairs: list[Path]):
    """Part the rows of all shards into kept and dropped, and count them."""
    summary = Summary()
    with (
        whole_file(output_pairs) as kept_path,
        whole_file(output_dropped) as dropped_path,
        pq.ParquetWriter(kept_path, PAIRS, compression="zstd") as kept,
        pq.ParquetWriter(dropped_path, PAIRS, compression="zstd") as dropped,
    ):
        for path in tqdm(pairs, desc="collecting pairs"):
            table = read_table(path, schema=PAIRS)
            is_kept = pc.is_null(table["stage"])
            kept.write_table(table.filter(is_kept))
            dropped.write_table(table.filter(pc.invert(is_kept)))
            summary.add(table, source=path)
    with whole_file(output_summary) as partial:
        partial.write_text(json.dumps(summary.as_json(), indent=2, ensure_ascii=False) + "\n")


class Summary:
    """Rows of each split: all, kept, and dropped by stage and reason, with the first few of these."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._dropped: Counter[tuple[str, str, str]] = Counter()
        self._samples: defaultdict[tuple[str, str, str], list[dict]] = defaultdict(list)
        self._ranges: list[tuple[str, str, Path]] = []

    def add(self, table: pa.Table, *, source: Path) -> None:
        """Count the rows (tables.PAIRS) of one shard.

        Raises: ValueError if the keys do not ascend, or are of more than one split.
        """
        if not len(table):
            return
        keys = table["key"].to_pylist()
        if any(first >= second for first, second in pairwise(keys)):
            raise ValueError(
                f"the keys of {source} do not ascend; make it anew with `snakemake -f {quote(str(source))}`"
            )
        split = keys[0].rpartition("-")[0]
        if split != keys[-1].rpartition("-")[0]:
            raise ValueError(f"{source} has rows of more than one split, '{keys[0]}' and '{keys[-1]}'")
        self._ranges.append((keys[0], keys[-1], source))
        self._rows[split] += len(table)
        self._kept[split] += table["stage"].null_count
        for row in table.filter(pc.is_valid(table["stage"])).to_pylist():
            rule = (split, row["stage"], row["reason"])
            self._dropped[rule] += 1
            if len(self._samples[rule]) < NUM_SAMPLES:
                self._samples[rule].append({name: row[name] for name in ("key", "caption", "detail")})

    def as_json(self) -> dict:
        """Counts by split, the rules in the order of the stages, then the most severe first.

        Raises: ValueError if two shards overlap.
        """
        for (_, last, path), (first, _, next_path) in pairwise(sorted(self._ranges)):
            if first <= last:
                raise ValueError(f"{path} and {next_path} overlap at row '{first}'; give each shard once")
        rules = sorted(self._dropped, key=lambda rule: (STAGES.index(rule[1]), -self._dropped[rule], rule))
        splits = {}
        for split in self._rows:
            dropped: list[dict] = [
                {"stage": rule[1], "reason": rule[2], "rows": self._dropped[rule], "samples": self._samples[rule]}
                for rule in rules
                if rule[0] == split
            ]
            splits[split] = {"rows": self._rows[split], "kept": self._kept[split], "dropped": dropped}
            assert self._kept[split] + sum(entry["rows"] for entry in dropped) == self._rows[split]
        return {"splits": splits}


if __name__ == "__main__":
    run(main)
