import json
import re

import pytest
from browsing import chromium, opened
from commands import failure
from PIL import Image
from report_run import HOSTILE, make_report_run, measure, write

from vilbert.report.page import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_report_run(tmp_path_factory.mktemp("runs") / "r <7>")
    main([folder])
    return folder


@pytest.fixture(scope="module")
def html(run):
    return (run / "report/index.html").read_text()


@pytest.fixture(scope="module")
def page(run):
    with chromium() as browser, opened(browser, (run / "report/index.html").as_uri()) as page:
        yield page


def test_it_asks_for_nothing_and_runs_nothing(html):
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "<script" not in html
    assert "default-src 'none'" in html


def test_its_numbers_stand_beside_it(run):
    numbers = json.loads((run / "report/numbers.json").read_text())
    assert numbers["run"] == "r <7>"
    assert len(numbers["measures"]) == 2


def test_parts_that_a_run_has_not_are_left_out(html, tmp_path):
    (tmp_path / "empty").mkdir()
    main([tmp_path / "empty"])
    empty = (tmp_path / "empty/report/index.html").read_text()
    assert re.findall(r'<h2 id="(.+?)"', empty) == ["made-of"]
    assert "<svg" not in empty
    assert "Nothing has been measured in this run yet." in empty
    assert re.findall(r'<h2 id="(.+?)"', html) == [
        *("measures", "examples", "curves", "comparisons", "regions", "cleaning", "cost", "made-of"),
    ]


def test_a_doubt_stands_above_all_numbers(tmp_path):
    write(tmp_path / "pretrain/baselines.json", [measure("recall_at_10", 1.0, chance=1.0, num_examples=5)])
    main([tmp_path])
    page = (tmp_path / "report/index.html").read_text()
    assert 0 < page.index("recall at 10 cannot be missed") < page.index('<h2 id="measures">')


def test_a_file_that_is_cut_off_is_named_and_the_rest_is_shown(tmp_path):
    folder = make_report_run(tmp_path / "r")
    for file in ("pretrain/baselines.json", "report/examples/vqa/examples.json"):
        (folder / file).write_text("[{")
    with (folder / "pretrain/metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 4, "eval/lo')
    main([folder])
    page = (folder / "report/index.html").read_text()
    assert "Could not be read" in page
    assert "report/examples/vqa/examples.json is damaged" in page
    assert "VQA" in page
    assert len(json.loads((folder / "report/numbers.json").read_text())["unread"]) == 2


def test_what_a_run_measures_and_does_not_compare_stands_beside_the_paper_too(html):
    """VQA of the run's own seed, below what is compared."""
    assert "The run's own model, of one seed:" in html
    assert html.count("<td>70.55</td>") == 2


def test_findings_stand_with_what_would_decide_them(html):
    (row,) = re.findall("<tr><td>VQA gains</td>.*?</tr>", html)
    assert re.findall("<td>(.*?)</td>", row)[2:] == ["not decided", "21", "-3.5 to 45.5", "", "2", "3"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("report/comparisons.json", "[]"),
        ("report/comparisons.json", '{"cells": [{"table": "data"}], "findings": null}'),
        ("report/search.csv", "way,k,pairs_scored\nfirst stage,0,0\n"),
        ("report/examples/vqa/examples.json", '[{"text": "no kind"}]'),
        ("report/examples/vqa/examples.json", '[{"kind": "question", "picture": "../../../secret.png"}]'),
        ("report/examples/vqa/00.png", "no picture"),
        ("pretrain/model/provenance.json", '{"commit": 5, "model": {}}'),
        ("detector/metrics.json", '{"ap50": 1}'),
    ],
)
def test_what_is_not_as_it_is_meant_costs_its_part_alone(tmp_path, file, content):
    folder = make_report_run(tmp_path / "r")
    Image.new("RGB", (7, 5)).save(tmp_path / "secret.png")
    (folder / file).write_text(content)
    main([folder])
    page = (folder / "report/index.html").read_text()
    assert len(json.loads((folder / "report/numbers.json").read_text())["unread"]) == ("commit" not in content)
    assert ("Could not be read" in page) == ("commit" not in content)
    assert "VQA" in page


def test_a_folder_where_a_file_should_be_is_named(tmp_path):
    folder = make_report_run(tmp_path / "r")
    for file in ("pretrain/metrics.jsonl", "detector/metrics.json"):
        (folder / file).unlink()
        (folder / file).mkdir()
    main([folder])
    assert len(json.loads((folder / "report/numbers.json").read_text())["unread"]) >= 2


def test_nothing_that_is_no_number_comes_into_the_numbers(tmp_path):
    folder = make_report_run(tmp_path / "r")
    write(folder / "pretrain/baselines.json", [measure("accuracy", float("nan"), rule=float("inf"))])
    (folder / "pretrain/metrics.jsonl").write_text('{"step": 1, "loss/alignment": NaN}\n')
    main([folder])
    told = (folder / "report/numbers.json").read_text()
    assert "NaN" not in told
    assert "Infinity" not in told
    assert "accuracy is no number" in (folder / "report/index.html").read_text()


@pytest.mark.browser
def test_hostile_text_is_shown_as_text(page):
    assert page.title() == "ViLBERT: r <7>"
    shown = page.locator("body").inner_text()
    assert shown.count(HOSTILE) >= 3
    assert page.locator("script").count() == 0
    assert page.locator("b", has_text=re.compile("^$")).count() == 0


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 400])
def test_it_is_as_wide_as_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.browser
def test_a_picture_is_enlarged_by_a_tap_and_by_the_keyboard(page):
    page.set_viewport_size({"width": 400, "height": 900})
    picture = page.locator(".zoom img").first
    small = picture.bounding_box()
    picture.click()
    assert picture.bounding_box() == {"x": 0, "y": 0, "width": 400, "height": 900}
    page.keyboard.press("Space")
    assert picture.bounding_box()["width"] == small["width"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["gone"], "gone is no folder; a run's is results/<run>"),
        (["a", "a", "a"], "got 3 runs, expected one to make its page, or two to compare"),
    ],
)
def test_a_wrong_call_is_one_sentence(tmp_path, names, message):
    (tmp_path / "a").mkdir()
    said = failure(["-m", "vilbert.cli", "report", *(str(tmp_path / name) for name in names)])
    assert message in said
    assert "Traceback" not in said


def test_two_runs_are_printed_side_by_side(run, tmp_path, capsys):
    other = make_report_run(tmp_path / "other")
    (other / "pretrain/baselines.json").write_text("[")
    main([run, other])
    printed = capsys.readouterr()
    assert f"{other}/pretrain could not be read: {other}/pretrain/baselines.json is damaged" in printed.err
    said = printed.out.splitlines()
    assert said[0].split()[:2] == ["what", "split"]
    assert "other" in said[0]
    assert not (tmp_path / "other/report/index.html").exists()
