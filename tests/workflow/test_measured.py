import re
import subprocess
import sys

import pytest
import yaml
from places import ROOT

from workflow.measured import RULES, measured

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n"


@pytest.fixture
def times(tmp_path):
    """What two shards of a rule, a training and a rule that ended before it was looked at took."""
    (tmp_path / "download/train").mkdir(parents=True)
    (tmp_path / "download/train/00000.tsv").write_text(HEAD + "700\t0:11:40\t100\t400\t3\n")
    (tmp_path / "download/train/00001.tsv").write_text(HEAD + "60\t0:01:00\t1000\t400\t3\n")
    (tmp_path / "finetune").mkdir()
    (tmp_path / "finetune/vqa.tsv").write_text(HEAD + "3600\t1:00:00\t2000\t400\t3\n")
    (tmp_path / "collect_pairs.tsv").write_text(HEAD + "0.1\t0:00:00\t-\t-\t-\n")
    return tmp_path


def test_a_rule_is_given_more_than_its_hungriest_and_its_slowest_job_took(times):
    """1000 MiB are 1049 MB, 1573 with the margin."""
    assert measured(times) == {
        "collect_pairs": {"mem_mb": 500, "runtime": 5},
        "download": {"mem_mb": 500 + 1600, "runtime": 35},
        "finetune_task": {"mem_mb": 500 + 3200, "runtime": 180},
    }


def test_what_is_printed_is_a_part_of_a_profile(times):
    command = [sys.executable, "-m", "workflow.measured", str(times)]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    proposed = yaml.safe_load(printed)["set-resources"]
    assert proposed["download"] == {"mem_mb": "2100 * min(attempt, 3)", "runtime": "35 * min(attempt, 3)"}
    assert proposed["finetune_task"] == {"mem_mb": "3700 * min(attempt, 3)", "runtime": 180}  # it is resumed


def test_a_run_without_times_is_told_in_one_line(tmp_path):
    command = [sys.executable, "-m", "workflow.measured", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith(f"error: no times in {tmp_path}; expected results/<run>/times")


def test_times_stand_under_the_names_of_rules():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        text = path.read_text()
        named = set(re.findall(r"(?:rule|as) (\w+)(?::| with:)", text))
        timed = {RULES.get(name, name) for name in re.findall(r'"<times>/(\w+)', text)}
        assert timed <= named, path.name
