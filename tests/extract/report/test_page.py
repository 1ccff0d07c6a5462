import base64
import json
import re

import pytest

from extract.report.page import last_evaluation, main

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


@pytest.fixture
def parts(tmp_path):
    files = {"a.png": PNG, "b.svg": b"<svg/>", "c.csv": b"x & y,share\nred,0.5\n<b>,1\n"}
    log = [{"step": 7, "eval/loss": 0.123456, "loss": 3}, {"step": 11, "eval/loss": 0.25}, {"step": 13, "loss": 2}]
    files["d.jsonl"] = "".join(f"{json.dumps(line)}\n" for line in log).encode()
    files["f.json"] = (
        b'[{"measure": "a < b", "rule": null, "value": 0.123456}, {"measure": "c", "rule": 1.0, "value": 7}]'
    )
    files["text.rst"] = b"Set ``x.y`` to 1 < 2.\n"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    sections = {"a.png": "Second", "b.svg": "First one", "c.csv": "Second", "d.jsonl": "First one", "f.json": "Second"}
    caption = str(tmp_path / "text.rst")
    return [{"section": sections[name], "file": str(tmp_path / name), "caption": caption} for name in sections]


def make(tmp_path, parts):
    main(tmp_path / "out/index.html", title="Run <7>", parts=json.dumps(parts))
    return (tmp_path / "out/index.html").read_text()


def test_the_page_holds_every_part_below_its_heading(tmp_path, parts):
    page = make(tmp_path, parts)
    assert re.findall(r'<h2 id="(.+?)">(.+?)</h2>', page) == [("second", "Second"), ("first-one", "First one")]
    second, first = page.split("<h2")[1:]
    assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in second
    assert "<td>red</td><td>0.5</td>" in second
    assert "data:image/svg+xml;base64," in first
    assert "<td>loss</td><td>0.25</td>" in first
    assert "<th>measure</th><th>rule</th><th>value</th>" in second
    assert "<td>a &lt; b</td><td></td><td>0.1235</td>" in second


def test_text_is_text_and_backquotes_are_code(tmp_path, parts):
    page = make(tmp_path, parts)
    assert "<title>Run &lt;7&gt;</title>" in page
    assert "<th>x &amp; y</th>" in page
    assert "<td>&lt;b&gt;</td>" in page
    assert "<figcaption>Set <code>x.y</code> to 1 &lt; 2.</figcaption>" in page


def test_the_page_asks_for_nothing_else(tmp_path, parts):
    assert not re.findall(r'(?:src|href)="(?!data:|#)', make(tmp_path, parts))


def test_the_last_evaluation_is_not_the_last_line(tmp_path, parts):
    assert last_evaluation(tmp_path / "d.jsonl") == [["step", "11"], ["loss", "0.25"]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.txt", "", "cannot be shown, expected .csv"),
        ("e.jsonl", '{"step": 7, "loss": 1}\n', "holds no evaluation"),
        ("e.json", '{"step": 7}', "holds no list of rows"),
    ],
)
def test_what_cannot_be_shown_is_named_and_leaves_no_page(tmp_path, parts, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"{re.escape(name)} {re.escape(message)}"):
        make(tmp_path, [*parts, {**parts[0], "file": str(tmp_path / name)}])
    assert not (tmp_path / "out/index.html").exists()


def test_a_file_that_is_missing_is_named(tmp_path, parts):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        make(tmp_path, [{**parts[0], "file": str(tmp_path / "gone.png")}])


def test_metrics_that_are_cut_off_are_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "eval/lo')
    with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged \(.*\); remove it and start"):
        last_evaluation(tmp_path / "metrics.jsonl")
