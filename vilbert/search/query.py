"""Search an index: vilbert search INDEX TEXT."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from extract.command import run
from extract.devices import DeviceChoice
from vilbert.pipelines import demand_text
from vilbert.search.searcher import Searcher


def main(
    index: Annotated[Path, typer.Argument(help="folder that `vilbert index` or the rule build_index made")],
    text: Annotated[str | None, typer.Argument(help="what the pictures are to show")] = None,
    image: Annotated[Path | None, typer.Option(help="a picture in place of the text: what is like it")] = None,
    k: Annotated[int | None, typer.Option(help="pictures to find; by default ten, or all that there are")] = None,
    rerank: Annotated[
        int,
        typer.Option(help="of the best, those that are put in order anew with the scores of the encoder's teacher"),
    ] = 0,
    output: Annotated[Path | None, typer.Option(help="sheet of the pictures, .png; by default JSON is printed")] = None,
    model: Annotated[Path | None, typer.Option(help="dual encoder; by default the one that made the index")] = None,
    teacher: Annotated[Path | None, typer.Option(help="by default the one that the encoder has learnt from")] = None,
    detector: Annotated[Path | None, typer.Option(help="weights that find the regions of pictures")] = None,
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
    serves: Annotated[bool, typer.Option("--serve", help="a page on this machine to search by (extra `demo`)")] = False,
    port: Annotated[int, typer.Option(help="of the page")] = 7861,
) -> None:
    """Find pictures by a text or by a picture, the best first."""
    demand_one_question(text, image, serves=serves, rerank=rerank)
    searcher = Searcher(index, model=model, teacher=teacher, detector=detector, device=device)
    if serves:
        from vilbert.page import serve, stay_offline
        from vilbert.search.page import STYLE, make_page  # with matplotlib, as below: a text in a terminal needs none

        with TemporaryDirectory() as folder:
            stay_offline(keep_in=Path(folder))
            serve(make_page(searcher), port=port, style=STYLE)
        return
    if image is None:
        rows, title = searcher.by_text(str(text), k=k, rerank=rerank), str(text)
    else:
        rows, title = searcher.by_image(image, k=k), image.name
    if output is None:
        print(json.dumps(rows, indent=1))
    else:
        from vilbert.search.sheet import draw_sheet

        draw_sheet(rows, title, output)


def demand_one_question(text: str | None, image: Path | None, *, serves: bool, rerank: int) -> None:
    """Raises: ValueError for none, two, or one that cannot be answered."""
    if not serves and (text is None) == (image is None):
        given = "neither" if text is None else "both"
        raise ValueError(f"expected a text or --image, got {given}")
    if text is not None:
        demand_text(text)
    if image is not None and rerank:
        raise ValueError("--rerank is for a text: the model scores a text and a picture, not two pictures")
    if rerank < 0:
        raise ValueError(f"--rerank is {rerank}, expected a number of pictures")


if __name__ == "__main__":
    run(main)
