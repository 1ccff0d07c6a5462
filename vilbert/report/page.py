"""A run as one page that needs nothing else, no script and no network: vilbert report RUN.

Two runs: their numbers side by side, in the terminal.
"""

import base64
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import jinja2
import typer

from extract.command import run
from extract.tables import whole_file
from extract.terminal import plain_table
from vilbert.report import charts, sections
from vilbert.report.beside import beside
from vilbert.report.doubts import doubts_of
from vilbert.report.found import Found
from vilbert.report.numbers import NUMBERS, gather
from vilbert.training.folder import commit
from vilbert.training.machine import machine

PAGE = "report/index.html"
TITLES = {
    "pretraining": "Pretraining",
    "zero_shot_retrieval": "Zero-shot retrieval",
    "probes": "Probes: a caption preferred to its foil",
    "attention": "Co-attention",
    "vqa": "VQA",
    "vcr": "VCR",
    "refcoco": "RefCOCO+",
    "retrieval": "Image retrieval",
    "blind": "words alone",
    "no_text": "image alone",
    "architecture": "One stream or two (table 1)",
    "depth": "Depth (table 2)",
    "data": "Pairs of pretraining (table 3)",
    "text_init": "Where the text stream starts from",
}
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}


def main(
    runs: Annotated[list[Path], typer.Argument(help="folder of a run, such as results/drawn; two: side by side")],
) -> None:
    """Make the page of a run, of all that is there, and its numbers.json; or print the numbers of two runs."""
    for path in runs:
        if not path.is_dir():
            raise FileNotFoundError(f"{path} is no folder; a run's is results/<run>")
    if len(runs) > 2:
        raise ValueError(f"got {len(runs)} runs, expected one to make its page, or two to compare")
    if len(runs) == 2:
        both = [gather(Found(path)) for path in runs]
        print(plain_table(beside(*both)))
        for path, numbers in zip(runs, both, strict=True):
            for one in numbers["unread"]:
                print(f"{path / one['file']} could not be read: {one['why']}", file=sys.stderr)
        return
    found = Found(runs[0])
    numbers = gather(found)
    page = make_page(found, numbers)
    for name, text in ((NUMBERS, json.dumps(finite(numbers), indent=1, allow_nan=False) + "\n"), (PAGE, page)):
        with whole_file(runs[0] / name) as partial:
            partial.write_text(text, encoding="utf-8")
        print(runs[0] / name)


def make_page(found: Found, numbers: dict[str, Any]) -> str:
    """The whole page, HTML, of a run and what `gather` found of it. What the run has not is left out."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "words": words,
        "titled": lambda name: TITLES.get(name, words(name)),
        "picture": lambda path: picture(found.run / path),
        "as_json": lambda value: json.dumps(value, indent=1, ensure_ascii=False),
    }
    parts = sections.of(found, numbers)
    return environment.get_template("page.html.j2").render(
        numbers=numbers,
        doubts=doubts_of(numbers),
        made={"at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit(), "machine": machine()},
        colours=charts.LEVELS,
        exists=lambda path: (found.run / path).is_file(),
        **parts,
    )


def finite(value: Any) -> Any:
    """The same with null for what is no number, which JSON has not."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def picture(path: Path) -> str:
    """A picture as an address that holds it.

    Raises: ValueError for a file that is none.
    """
    if path.suffix not in MEDIA_TYPES:
        raise ValueError(f"{path} cannot be shown, expected {', '.join(MEDIA_TYPES)}")
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def number(value: Any) -> str:
    """Short, for a table; nothing for null."""
    if isinstance(value, int) or (isinstance(value, float) and abs(value) >= 1000):
        return f"{value:,.0f}"
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def words(name: str) -> str:
    return name.split("/")[-1].replace("_", " ")


if __name__ == "__main__":
    run(main)
