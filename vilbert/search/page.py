"""A page to search by: a text, the pictures that were found, their regions and scores."""

from functools import partial
from html import escape
from typing import Any

from PIL import Image, ImageDraw

from vilbert.search.searcher import Row, Searcher
from vilbert.search.sheet import read_picture, told

SIDE = 480  # pixels, of a picture on the page
MARK = "#e6194b"
MOST = 64  # that are shown, or re-ranked
STYLE = """
.found .grid-container {grid-template-columns: repeat(auto-fill, minmax(9em, 1fr)) !important}
.found .caption-label {white-space: normal; left: var(--block-label-margin); max-width: none}
"""


def make_page(searcher: Searcher) -> Any:
    """The page, a gradio.Blocks; `vilbert.page.stay_offline` comes first."""
    import gradio

    most = min(MOST, len(searcher.index))
    with gradio.Blocks(title="Search", analytics_enabled=False) as page:
        gradio.Markdown(f"# Search {len(searcher.index):,} pictures")
        text = gradio.Textbox(label="What they show", placeholder="a red circle left of a small square")
        with gradio.Row():
            count = gradio.Slider(1, most, value=min(10, most), step=1, label="Pictures")
            rerank = gradio.Slider(0, most, value=min(16, most), step=1, label="Of them put in order with ViLBERT")
            has_boxes = gradio.Checkbox(label="Regions")
        button = gradio.Button("Search", variant="primary")
        said = gradio.HTML()
        pictures = gradio.Gallery(
            label="Found, the best first", show_label=False, object_fit="contain", height="auto", elem_classes="found"
        )
        asked = [text, count, rerank, has_boxes]
        for event in (button.click, text.submit):
            event(partial(answer, searcher), inputs=asked, outputs=[pictures, said], api_visibility="private")
    return page


def answer(
    searcher: Searcher, text: str, k: int, rerank: int, has_boxes: bool
) -> tuple[list[tuple[Image.Image, str]], str]:
    """Pictures with what is written below them, and HTML: what is wrong, also with a picture that cannot be shown."""
    try:
        rows = searcher.by_text(text, k=int(k), rerank=int(rerank))
    except (ValueError, OSError) as error:
        return [], escape(str(error))
    shown, reasons = [], []
    for row in rows:
        try:
            shown.append((drawn(searcher, row, has_boxes=has_boxes), told(row)))
        except (ValueError, OSError) as error:
            reasons.append(f"{row['image']}: {error}")
    return shown, escape("; ".join(reasons))


def drawn(searcher: Searcher, row: Row, *, has_boxes: bool) -> Image.Image:
    """The picture of a row, with a frame around each of its regions, no larger than the page shows.

    Raises: ValueError for one that cannot be read; OSError.
    """
    picture = read_picture(row)
    if has_boxes and (regions := searcher.regions(row).regions) is not None:
        pencil = ImageDraw.Draw(picture)
        for box in regions.boxes.tolist():
            pencil.rectangle(box, outline=MARK)
    picture.thumbnail((SIDE, SIDE))
    return picture
