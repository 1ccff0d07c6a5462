import pytest

from extract.captions.text import caption_words, normalise_caption, repair_caption


@pytest.mark.parametrize(
    ("caption", "repaired"),
    [
        ("  a  red\tcircle\n", "a red circle"),
        ("salt &amp; pepper", "salt & pepper"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("caf&eacute; &lt;b&gt;", "café <b>"),
        ("cafÃ© in paris", "café in paris"),
        ("the â€œoldâ€\x9d town", 'the "old" town'),
        ("ﬁne ｗｉｄｅ\u200b\x07\ufeff", "fine wide\u200b"),
        ("birds <3 & bees", "birds <3 & bees"),
        ("£ 6,000", "£ 6,000"),
    ],
)
def test_repair_puts_encoding_entities_and_whitespace_right(caption, repaired):
    assert repair_caption(caption) == repaired


def test_repair_does_nothing_twice():
    once = repair_caption("Ã©t&eacute; &lt;b&gt; &amp;amp;amp; x")
    assert repair_caption(once) == once


def test_words_have_no_case_and_no_punctuation():
    assert caption_words("Fish 'n Chips , twice-fried : #2 !") == ["fish", "n", "chips", "twice-fried", "2"]
    assert normalise_caption("The Fish .") == normalise_caption("the fish")
