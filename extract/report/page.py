"""A run as one page that needs nothing else: python -m extract.report.page PAGE, pictures and tables inside."""

import base64
import csv
import json
import re
from html import escape
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, TypeAdapter

from extract.command import run
from extract.tables import read_json, reading, whole_file

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:76rem;color:#1d2430;background:#fff}
h1{font-size:1.5rem;margin:.6rem 0}
h2{font-size:1.15rem;margin:2.4rem 0 .4rem;padding-top:.8rem;border-top:1px solid #d8dde5}
nav a{margin-right:1rem;white-space:nowrap}
figure{margin:1.2rem 0}
figcaption{max-width:46rem;color:#4a5364;margin-bottom:.5rem}
img{max-width:100%;height:auto}
div{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #e4e8ee;vertical-align:top}
"""
MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


class Part(BaseModel):
    """One picture or table of the page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    section: str  # its heading; parts of one section follow each other
    file: Path  # .png, .svg, .csv, .json with a list of rows, or .jsonl with evaluations, of which the last is shown
    caption: Path  # text; what stands between two pairs of backquotes is code


def main(
    page: Path,
    title: Annotated[str, typer.Option()],
    parts: Annotated[str, typer.Option(help="JSON list of section, file, caption")],
) -> None:
    """Write the page."""
    text = make_page(title, TypeAdapter(list[Part]).validate_json(parts))
    with whole_file(page) as partial:
        partial.write_text(text, encoding="utf-8")


def make_page(title: str, parts: list[Part]) -> str:
    """The whole page, HTML.

    Raises: FileNotFoundError; ValueError for a file of a kind that is not shown.
    """
    sections = list(dict.fromkeys(part.section for part in parts))
    links = " ".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in sections)
    body = []
    for name in sections:
        figures = "".join(_figure(part) for part in parts if part.section == name)
        body.append(f'<h2 id="{_anchor(name)}">{escape(name)}</h2>\n{figures}')
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>\n'
        f"<h1>{escape(title)}</h1>\n<nav>{links}</nav>\n" + "\n".join(body) + "\n</html>\n"
    )


def _figure(part: Part) -> str:
    caption = re.sub(r"``(.+?)``", r"<code>\1</code>", escape(part.caption.read_text(encoding="utf-8").strip()))
    return f"<figure><figcaption>{caption}</figcaption>{_shown(part.file)}</figure>\n"


def _shown(path: Path) -> str:
    if path.suffix in MEDIA_TYPES:
        data = base64.b64encode(path.read_bytes()).decode()
        return f'<img alt="{escape(path.stem)}" src="data:{MEDIA_TYPES[path.suffix]};base64,{data}">'
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return _table(list(csv.reader(file)))
    if path.suffix == ".json":
        return _table(rows_of(path))
    if path.suffix == ".jsonl":
        return _table([["last evaluation", ""], *last_evaluation(path)])
    raise ValueError(f"{path} cannot be shown, expected .csv, .json, .jsonl, {', '.join(MEDIA_TYPES)}")


def rows_of(path: Path) -> list[list[str]]:
    """The names of the columns, then the cells of each row; '' for null.

    Raises: ValueError for what is no list of rows.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} holds no list of rows")
    cells = [["" if value is None else _short(value) for value in row.values()] for row in rows]
    return [list(rows[0]), *cells]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def last_evaluation(metrics: Path) -> list[list[str]]:
    """Names and values of the last line that has any; the step first.

    Raises: ValueError if no line has.
    """
    for line in reversed(metrics.read_text().splitlines()):
        with reading(metrics):
            row = json.loads(line)
        if values := {name.removeprefix("eval/"): value for name, value in row.items() if name.startswith("eval/")}:
            return [["step", str(row["step"])], *([name, f"{value:.4g}"] for name, value in values.items())]
    raise ValueError(f"{metrics} holds no evaluation")


def _table(rows: list[list[str]]) -> str:
    head, *body = ([escape(cell) for cell in row] for row in rows)
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return f"<div><table>{''.join(lines)}</table></div>"


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower())


if __name__ == "__main__":
    run(main)
