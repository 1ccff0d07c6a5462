import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import REAL

from extract.captions.counts import REPEATED_CAPTIONS
from extract.captions.rows import read_line
from extract.captions.rules import MARKUP, URL, caption_rules, clean_row, first_objection, main
from extract.captions.text import MAX_LENGTH, caption_words, repair_caption
from extract.settings import CaptionSettings
from extract.tables import CAPTIONS, ROWS, read_rows, write_table

SETTINGS = CaptionSettings(
    min_words=3,
    max_words=11,
    min_latin_share=0.9,
    boilerplate=(r"\bimage not available\b", r"^click "),
    max_repeats=5,
)
REAL_LIST = REAL / "conceptual_captions/validation_first_8000.tsv"


@pytest.fixture
def rules():
    return caption_rules(SETTINGS, repeats={"a red circle": 7, "a blue square": 5})


@pytest.mark.parametrize(
    ("caption", "reason", "detail"),
    [
        ("caf\N{REPLACEMENT CHARACTER} at night in paris", "undecodable_bytes", None),
        ("two words", "too_few_words", "2 words"),
        (". . . # !", "too_few_words", "0 words"),
        ("a b c d e f g h i j k l", "too_many_words", "12 words"),
        ("красный круг на столе", "not_latin", "0.00 of the letters are Latin"),
        ("12 34 56 78", "not_latin", None),
        ("the Image Not Available here", "boilerplate", "Image Not Available"),
        ("click for the next one", "boilerplate", "click "),
        ("a <b>red</b> circle", "markup", "<b>"),
        ("a < br / > red circle", "markup", "< br / >"),
        ("a [[red]] circle here", "markup", "[["),
        ('a red circle style="x"', "markup", 'style="'),
        ("a red &circ; circle", "markup", "&circ;"),
        ("read more at https://a.org/x?y=1", "url", "https://a.org/x?y=1"),
        ("read more at www . a . org", "url", "www . a"),
        ("photo by cars-online.com again", "url", "cars-online.com"),
        ("mail to me@home.example today", "url", "me@home.example"),
        ("my holiday img_0123.JPG is here", "url", "img_0123.JPG"),
        ("A red circle !", "repeated", "7 times"),
    ],
)
def test_each_rule_names_itself_and_the_value(rules, caption, reason, detail):
    objection = first_objection(caption, rules)
    assert objection is not None
    assert objection.reason == reason
    assert detail is None or objection.detail == detail


@pytest.mark.parametrize(
    "caption",
    [
        "a blue square",
        "this tattoo is beautiful with birds <3",
        "the first car ever made > unique 959s spotted",
        "salt & pepper rock artist",
        "fiancé at the café , 8 × 10 camera",
        "a model in black . the dress was blue",
        "in class = a red circle",
    ],
)
def test_what_a_person_would_keep_is_kept(rules, caption):
    assert first_objection(caption, rules) is None


def test_the_first_rule_that_objects_is_named(rules):
    assert list(rules) == [
        "undecodable_bytes",
        "too_few_words",
        "too_many_words",
        "not_latin",
        "boilerplate",
        "markup",
        "url",
        "repeated",
    ]
    assert first_objection("<b>two</b>", rules).reason == "markup"  # b, two and b are three words
    assert first_objection("click <b>", rules).reason == "too_few_words"


def test_a_bad_regular_expression_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"captions.boilerplate has '\(x', which is no regular expression"):
        caption_rules(SETTINGS.model_copy(update={"boilerplate": ("(x",)}), repeats={})


def test_no_boilerplate_matches_nothing():
    rules = caption_rules(SETTINGS.model_copy(update={"boilerplate": ()}), repeats={})
    assert first_objection("a red circle", rules) is None


def test_every_row_of_a_shard_stands_in_its_table(tmp_path):
    lines = [b"a &amp; b &amp; c\thttp://a.org\n", b"no url at all\n", b"\n", b"two words\thttp://a.org\n"]
    rows = [read_line(line, key=f"val-{row:08d}") for row, line in enumerate(lines)]
    write_table(tmp_path / "rows.parquet", rows, ROWS)
    write_table(tmp_path / "counts.parquet", [], REPEATED_CAPTIONS)
    main(tmp_path / "rows.parquet", tmp_path / "counts.parquet", tmp_path / "out.parquet", SETTINGS)
    cleaned = read_rows(tmp_path / "out.parquet", CAPTIONS)
    assert [row["key"] for row in cleaned] == [row["key"] for row in rows]
    assert [row["caption"] for row in cleaned] == ["a & b & c", None, None, "two words"]
    assert [row["reason"] for row in cleaned] == [None, "malformed_row", "malformed_row", "too_few_words"]
    assert [row["detail"] for row in cleaned] == [None, "no url at all", "", "2 words"]


@pytest.mark.skipif(not REAL_LIST.exists(), reason="../shared/data is missing")
def test_almost_all_real_captions_pass():
    settings = SETTINGS.model_copy(update={"max_words": 50})
    rules = caption_rules(settings, repeats={})
    with REAL_LIST.open("rb") as file:
        rows = [clean_row(read_line(line, key=str(row)), rules) for row, line in enumerate(file)]
    assert len(rows) == 8000
    assert sum(row["reason"] is not None for row in rows) < 40


def test_what_is_too_long_for_a_caption_is_not_looked_into(rules):
    whole, longer = (
        {"key": "k", "url": "http://a.org", "caption": "x " * (MAX_LENGTH // 2) + end} for end in ("", "x")
    )
    assert clean_row(whole, rules)["reason"] == "too_many_words"
    assert clean_row(longer, rules) == {
        "key": "k",
        "caption": None,
        "reason": "too_long",
        "detail": "10001 characters, at most 10000",
    }


UNITS = [
    "a",
    "a-",
    "a.",
    "-",
    "a@",
    "[a",
    "[b ",
    "[](a",
    "[a](",
    "<a",
    "<b ",
    "&a",
    "&#",
    "www.",
    "{",
    "a'",
    "+a",
    "é-",
    "Ã©",
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("look", [MARKUP.search, URL.search, caption_words, repair_caption])
def test_no_caption_takes_long(at_most, unit, look):
    """A rule that goes back over it takes the square of its length: minutes, where a second is enough."""
    with at_most(seconds=20):
        look(unit * (100_000 // len(unit)))


# The rule before it was made to look at each character once.
PLAIN_URL = re.compile(
    r"\b(?:https?|ftp)\s?:\s?//\S*|\bwww\s?\.\s?\w\S*|\b[\w-]+\.(?:com|org|net|info|edu|gov|co\.uk)\b"
    r"|\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b|\b[\w-]+\.(?:jpe?g|png|gif|bmp|tiff?|svg|webp)\b",
    re.IGNORECASE,
)
PIECES = st.sampled_from([*"a-.@+_ é1:/", "com", "jpg", "co.uk", "www", "http", "b@c.de"]) | st.characters(
    codec="utf-8"
)


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(st.lists(PIECES, max_size=9).map("".join))
def test_urls_are_found_where_an_expression_that_goes_back_finds_them(text):
    assert bool(URL.search(text)) == bool(PLAIN_URL.search(text))
