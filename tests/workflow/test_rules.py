"""Every rule, read from the rule files as Snakemake's own parser sees them."""

import re
from pathlib import Path

import pytest
from places import ROOT

from extract.report.stale import BY_SHARD

RULE_FILES = sorted((ROOT / "workflow/rules").glob("*.smk"))


def rules_of(path: Path) -> dict[str, str]:
    """The text of each rule in a file, by name; rules that take another's command (`use rule`) are left out."""
    parts = re.split(r"^\s*rule (\w+):$", path.read_text(), flags=re.MULTILINE)
    texts = [re.split(r"^use rule ", part, flags=re.MULTILINE)[0] for part in parts[2::2]]
    return dict(zip(parts[1::2], texts, strict=True))


RULES = {
    f"{path.stem}:{name}": text
    for path in RULE_FILES
    for name, text in rules_of(path).items()
    if "output:" in text  # the others are targets, which do nothing
}


def test_there_are_rules():
    assert len(RULES) >= 12


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_a_log_an_environment_and_resources_that_grow(rule):
    text = RULES[rule]
    for directive in ("log:", "conda:", "resources:", "shell:", '"""'):
        assert directive in text, f"{rule} has no {directive}"
    assert "**ALLOCATIONS." in text or re.search(r"mem_mb=scaled.*\n +runtime=(ALLOCATIONS\.minutes\()?\d", text)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_one_command_of_a_package_and_writes_to_its_log(rule):
    command = "".join(re.findall(r'"(.*)"', RULES[rule].split("shell:")[1]))
    assert re.fullmatch(r"python -m (extract|vilbert)\.[\w.]+ [^;&|]*> \{log\} 2>&1", command), command


@pytest.mark.parametrize("rule", RULES)
def test_retries_are_the_profiles_business(rule):
    assert "retries:" not in RULES[rule]


def test_every_environment_and_caption_exists():
    for path in RULE_FILES:
        for name in re.findall(r'"(\.\./[^"]+)"', path.read_text()):
            assert (path.parent / name).exists(), f"{path.name} names {name}"


def test_what_is_stale_is_looked_for_wherever_a_rule_writes_a_shard():
    written = {
        stage
        for path in RULE_FILES
        for stage in re.findall(r"(?:<results>|\{RESULTS\})/([\w/]+)/\{+split\}+/\{+shard\}+", path.read_text())
    }
    assert written | {"contents/source", "times/*"} == set(BY_SHARD)
