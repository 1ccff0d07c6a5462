"""What a caption says, apart from how it was typed: its repair, its words, its normal form."""

import re

from ftfy import TextFixerConfig, fix_text

MAX_LENGTH = 10_000  # characters; what is longer is no caption, and nothing looks into it
REPAIR = TextFixerConfig(unescape_html=True)
NEEDS_REPAIR = re.compile(r"[^ -~]|&#?\w+;")  # all else is plain ASCII that ftfy would leave alone
WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


def repair_caption(caption: str) -> str:
    """The caption with its encoding, HTML entities, quotes, control characters and whitespace put right."""
    if NEEDS_REPAIR.search(caption):
        caption = fix_text(caption, REPAIR)
    return " ".join(caption.split())


def caption_words(caption: str) -> list[str]:
    """The words in lower case, without punctuation: "Fish 'n chips, twice-fried!" -> fish n chips twice-fried."""
    return WORD.findall(caption.lower())


def normalise_caption(caption: str) -> str:
    """The form in which two captions that say the same word for word are equal."""
    return " ".join(caption_words(caption))
