"""Which jobs a scheduler is given as one."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from places import ROOT

REAL = (ROOT / "workflow/configs/conceptual_captions.yaml", ROOT / "tests/workflow/real.yaml")
FEW_SHARDS = "source: {rows_per_shard: 700_000}\n"  # 5 and 1
# a and c of a group, b of none between them.
CIRCLE = """
from workflow.groups import check_groups_in_one_walk
check_groups_in_one_walk()
rule c:
    input: "a", "b"
    output: "c"
    group: "g"
    shell: "touch {output}"
rule b:
    input: "a"
    output: "b"
    shell: "touch {output}"
rule a:
    output: "a"
    group: "g"
    shell: "touch {output}"
"""


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--directory", str(folder), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
def test_a_group_that_waits_for_itself_is_named(tmp_path):
    (tmp_path / "Snakefile").write_text(CIRCLE)
    refused = snakemake(tmp_path, "--snakefile", str(tmp_path / "Snakefile"))
    assert refused.returncode != 0
    assert re.search(r"a group of jobs waits for itself: .*group g <- b", refused.stdout + refused.stderr)


@pytest.mark.slow
def test_the_jobs_of_a_shard_come_together_and_cheap_ones_of_several_may(tmp_path):
    (tmp_path / "few.yaml").write_text(FEW_SHARDS)
    settings = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", *map(str, REAL), str(tmp_path / "few.yaml")]
    together = ["--group-components", "rows=3", "captions=3", "pairs=3"]
    done = snakemake(tmp_path, *settings, *together, "--", "features")
    assert done.returncode == 0, done.stderr
    groups = re.split(r"^\[.*\] Group job (\w+) .*$", done.stdout + done.stderr, flags=re.MULTILINE)
    assert Counter(groups[1::2]) == {"rows": 2, "captions": 2, "images": 6, "pairs": 2}
    for name, jobs in zip(groups[1::2], groups[2::2], strict=True):
        shards = re.findall(r"^    rule (\w+):$(?:\n.+)*?\n +wildcards: (.*)$", jobs, flags=re.MULTILINE)
        if name == "images":
            (check, of_check), (download, of_download) = shards
            assert (check, download, of_check) == ("check_images", "download", of_download)
