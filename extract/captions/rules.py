"""The caption rules, before anything is downloaded: python -m extract.captions.rules."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import typer

from extract.captions.counts import read_repeats
from extract.captions.text import MAX_LENGTH, caption_words, normalise_caption, repair_caption
from extract.command import run
from extract.objection import Objection
from extract.settings import CaptionSettings
from extract.tables import CAPTIONS, ROWS, read_rows, write_table

Rule = Callable[[str], str | None]  # a repaired caption in, the value objected to out

# A stranger's caption is as long as they like, so no expression here looks at a character often: a run of characters is
# entered at its beginning only, and not gone back over; what stands in brackets has an end.
INSIDE = "{0,500}+"  # characters, in brackets
TAGS = "a|b|i|u|p|br|em|strong|div|span|img|font|center|h[1-6]|li|ul|ol|table|td|tr|script|style|iframe|blockquote"
MARKUP = re.compile(
    rf"<\s?/?\s?(?:{TAGS})\b[^<>]*>"  # a tag, also a tokenised one: '< b >'; no heart: 'birds <3'
    r"|</?[a-z!][^<>]*>|</[a-z]+|<!--|-->"
    r"|&#?\w+;"
    r"|\[\[|\]\]|\{\{|\}\}|\{%"
    rf"|\[/?(?:img|url|b|i|caption|gallery|embed|video)\b[^\]]{INSIDE}\]|!?\[[^\]]{INSIDE}\]\([^)]{INSIDE}\)"
    r"|\b(?:href|src|alt|style|class|width|height)\s?=\s?[\"']",
    re.IGNORECASE,
)
URL = re.compile(
    r"\b(?:https?|ftp)\s?:\s?//\S*|\bwww\s?\.\s?\w\S*"
    r"|(?<![\w-])-*+\w[\w-]*+\.(?:com|org|net|info|edu|gov|co\.uk|jpe?g|png|gif|bmp|tiff?|svg|webp)\b"
    r"|(?<![\w.+-])[.+-]*+\w[\w.+-]*+@[\w-]++\.[a-z]{2,}\b",
    re.IGNORECASE,
)


def main(
    rows: Path,
    caption_counts: Path,
    output: Path,
    settings: Annotated[CaptionSettings, typer.Option(parser=CaptionSettings.model_validate_json)],
):
    """Repair the captions of one shard and give a reason for each that is dropped."""
    rules = caption_rules(settings, repeats=read_repeats(caption_counts))
    write_table(output, [clean_row(row, rules) for row in read_rows(rows, ROWS)], CAPTIONS)


def clean_row(row: dict, rules: Mapping[str, Rule]) -> dict:
    """A row of tables.ROWS as one of tables.CAPTIONS."""
    if row["caption"] is None:
        return {"key": row["key"], "caption": None, "reason": "malformed_row", "detail": row["url"]}
    if (length := len(row["caption"])) > MAX_LENGTH:
        too_long = f"{length} characters, at most {MAX_LENGTH}"
        return {"key": row["key"], "caption": None, "reason": "too_long", "detail": too_long}
    caption = repair_caption(row["caption"])
    reason, detail = first_objection(caption, rules) or (None, None)
    return {"key": row["key"], "caption": caption, "reason": reason, "detail": detail}


def first_objection(caption: str, rules: Mapping[str, Rule]) -> Objection | None:
    """What the first rule that objects to a repaired caption says."""
    for reason, rule in rules.items():
        if (detail := rule(caption)) is not None:
            return Objection(reason, detail)
    return None


def caption_rules(settings: CaptionSettings, *, repeats: Mapping[str, int]) -> dict[str, Rule]:
    """The rules by reason, in the order in which they are applied.

    Args:
        repeats: rows of the split by normalised caption, for those that stand more than once. One that stands more than
            `max_repeats` times says nothing about any of its images: all its rows go.
    Raises: ValueError if a regular expression of the settings is none.
    """
    boilerplate = one_expression(settings.boilerplate)

    def words(caption: str, *, too_many: bool) -> str | None:
        count = len(caption_words(caption))
        bad = count > settings.max_words if too_many else count < settings.min_words
        return f"{count} words" if bad else None

    def script(caption: str) -> str | None:
        share = latin_share(caption)
        return f"{share:.2f} of the letters are Latin" if share < settings.min_latin_share else None

    def repeated(caption: str) -> str | None:
        count = repeats.get(normalise_caption(caption), 1)
        return f"{count} times" if count > settings.max_repeats else None

    return {
        "undecodable_bytes": lambda caption: caption if "\N{REPLACEMENT CHARACTER}" in caption else None,
        "too_few_words": lambda caption: words(caption, too_many=False),
        "too_many_words": lambda caption: words(caption, too_many=True),
        "not_latin": script,
        "boilerplate": lambda caption: first_match(boilerplate, caption),
        "markup": lambda caption: first_match(MARKUP, caption),
        "url": lambda caption: first_match(URL, caption),
        "repeated": repeated,
    }


def one_expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """An expression that matches where any of `patterns` does, case ignored."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"captions.boilerplate has '{pattern}', which is no regular expression: {error}"
            ) from error
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)", re.IGNORECASE)


def first_match(pattern: re.Pattern[str], text: str) -> str | None:
    """The text that `pattern` matches first."""
    match = pattern.search(text)
    return match.group() if match else None


def latin_share(text: str) -> float:
    """Share of the letters that are of the Latin script, 0 where there is no letter."""
    letters = [character for character in text if character.isalpha()]
    return sum(map(is_latin, letters)) / max(len(letters), 1)


@lru_cache(maxsize=1 << 14)
def is_latin(letter: str) -> bool:
    """Whether Unicode calls a letter Latin, wide and accented ones too."""
    return letter.isascii() or "LATIN" in unicodedata.name(letter, "")


if __name__ == "__main__":
    run(main)
