"""A page to play with trained models: vilbert demo MODEL... .

A picture is chosen, its regions are found once and drawn, and each thing that a model can be asked for has a tab.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from PIL import Image, ImageDraw

from extract.command import in_words, run
from extract.devices import DeviceChoice, best_device
from extract.finder import FoundRegions, files_to_look_at
from extract.settings import DetectorSettings
from vilbert.looking import CoAttention, mark
from vilbert.model.detector import ModelDetector, detector_of
from vilbert.pipelines import Pipeline, demand_text, pipeline, regions_of

if TYPE_CHECKING:
    import gradio as gr

HOST = "127.0.0.1"
PORT = 7860
NUM_EXAMPLES = 24  # pictures to choose from
NUM_LABELS = 8  # whose probabilities are shown
SIDE = 768  # pixels of the longer side of the picture that is drawn into
ERRORS = (ValueError, OSError, FloatingPointError)  # that a user can mend
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "models"}
STYLE = """
.examples .grid-container {
    grid-template-columns: repeat(auto-fill, minmax(4.5em, 1fr)) !important;
    grid-auto-rows: min-content;
}
.examples .thumbnail-item {aspect-ratio: 1; height: auto}
.models label, .models span {white-space: normal; overflow-wrap: anywhere}
.note {margin: 0; opacity: .75}
.wrong {margin: 0; font-weight: 600; color: #c62828}
.dark .wrong {color: #ff8a80}
.said {margin: 0 0 .5em; font-size: 1.5em; font-weight: 600; overflow-wrap: anywhere}
table.rows {width: 100%; margin: 0 0 1em}
table.rows, table.rows tr, table.rows td {border: none !important}
table.rows td {padding: .2em 0; overflow-wrap: anywhere}
table.rows td.bar {width: 50%; padding: 0 .5em}
table.rows td.number {width: 4em; text-align: right; font-variant-numeric: tabular-nums}
td.bar i {display: block; height: .7em; min-width: 2px; border-radius: 2px; background: var(--color-accent)}
"""


def main(
    models: Annotated[list[Path], typer.Argument(help="folders of trained models, or of converted ones")],
    pictures: Annotated[Path | None, typer.Option(exists=True, help="folder of pictures to choose from")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="of the page, on this machine alone")] = PORT,
    detector: Annotated[
        Path | None, typer.Option(help="weights that find the regions; by default those that MODELS have learnt of")
    ] = None,
    detector_settings: Annotated[
        DetectorSettings | None,
        typer.Option(
            parser=DetectorSettings.model_validate_json,
            help="section `detector` of the settings, as JSON; by default what MODELS say",
        ),
    ] = None,
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
) -> None:
    """Show a page in the browser where a picture is uploaded and MODELS are asked about it."""
    with TemporaryDirectory() as folder:
        stay_offline(keep_in=Path(folder))
        examples = [] if pictures is None else files_to_look_at(pictures)[0][:NUM_EXAMPLES]
        loaded = load_models(models, detector=detector, settings=detector_settings, device=device)
        serve(make_page(loaded, examples), port=port, style=STYLE)


def stay_offline(*, keep_in: Path) -> None:
    """Tell gradio, before it is imported, to ask nobody anything and to keep what is uploaded in one folder.

    Raises: ImportError where it is not installed.
    """
    unproxied = [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST]  # it asks itself whether it is up
    os.environ |= {
        "no_proxy": ",".join(filter(None, unproxied)),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",
        "GRADIO_TEMP_DIR": str(keep_in),
    }
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}: the page is made with gradio, pip install 'vilbert[demo]'") from error


def serve(page: "gr.Blocks", *, port: int, style: str) -> None:
    """Show a page to this machine until Ctrl-C.

    Raises: OSError for a port that is taken.
    """
    import gradio as gr

    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            ssr_mode=False,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=style,
        )
    except OSError as error:
        raise OSError(
            f"port {port} of {HOST} is taken or may not be used, expected a free one: name it by --port"
        ) from error
    print(f"open http://{HOST}:{port} in a browser; Ctrl-C ends it", flush=True)
    page.block_thread()


class Model(NamedTuple):
    """A model of the page."""

    ask: Pipeline
    finder: Pipeline  # the first model with the same detector, so that this is loaded, and looks, once


def load_models(
    paths: Sequence[Path], *, detector: Path | None, settings: DetectorSettings | None, device: DeviceChoice
) -> dict[str, Model]:
    """The models by the names of their folders.

    Raises: FileNotFoundError for what is no model, or a detector that is not there; ValueError for one without a head.
    """
    finders: dict[ModelDetector, Pipeline] = {}
    models = {}
    for path in paths:
        ask = pipeline(path, detector=detector, detector_settings=settings, device=best_device(device))
        its_detector = detector_of(path, given=detector, settings=settings)
        models[str(path)] = Model(ask, finders.setdefault(its_detector, ask))
    return models


class Sight:
    """A picture, and its regions by each detector that has looked at it."""

    def __init__(self, picture: Path) -> None:
        self.picture = picture
        self._found: dict[Pipeline, FoundRegions] = {}

    def by(self, finder: Pipeline) -> FoundRegions:
        """Raises: ValueError for a picture that cannot be read, with the reason."""
        if finder not in self._found:
            (found,) = finder.find(self.picture)
            found = found._replace(name=self.picture.name)
            regions_of(found)
            self._found[finder] = found
        return self._found[finder]


class Said(NamedTuple):
    """What a model says of a picture."""

    html: str
    text: str  # of which it says that
    box: list[float] | None = None  # x1 y1 x2 y2, pixels of the picture


class Ability(NamedTuple):
    """What the tab of something that models can be asked for shows."""

    tab: str
    label: str  # of the text
    example: str
    ask: Callable[[Pipeline, FoundRegions, str], Said]
    num_lines: int = 1


def ask_question(ask: Pipeline, found: FoundRegions, text: str) -> Said:
    (row,) = ask.answer(found, demand_text(text), num_answers=5)
    answers = [(one["answer"], one["probability"]) for one in row["answers"]]
    return Said(headline(answers[0][0]) + bars(answers), text)


def point_at(ask: Pipeline, found: FoundRegions, text: str) -> Said:
    (row,) = ask.point(found, demand_text(text))
    return Said(bars([("score of the red box", row["score"])]), text, box=row["box"])


def give_labels(ask: Pipeline, found: FoundRegions, text: str) -> Said:
    (row,) = ask.classify(found, text)
    return Said(
        headline(", ".join(row["labels"]) or "none of the labels")
        + bars(list(row["probabilities"].items())[:NUM_LABELS]),
        text,
    )


def score_captions(ask: Pipeline, found: FoundRegions, text: str) -> Said:
    """Of a caption a line, the best fitting first."""
    captions = [line.strip() for line in demand_text(text).splitlines() if line.strip()]
    scores = {caption: ask.score(found, caption)[0]["score"] for caption in captions}
    ranked = sorted(captions, key=lambda caption: -scores[caption])
    rows = table(f'<td>{escape(one)}</td><td class="number">{scores[one]:.2f}</td>' for one in ranked)
    return Said(rows + remark("The higher, the better it fits; several captions are put in order."), ranked[0])


def fill_in(ask: Pipeline, found: FoundRegions, text: str) -> Said:
    (row,) = ask.fill(found, demand_text(text), num_words=5)
    filled = text
    for words in row["masks"]:
        filled = filled.replace(ask.processor.tokenizer.mask_token, words[0]["word"], 1)
    groups = [bars([(one["word"], one["probability"]) for one in words]) for words in row["masks"]]
    return Said(headline(filled) + "".join(groups), text)


ABILITIES = {  # by the method of the pipeline, in the order of the tabs
    "answer": Ability("Ask", "A question", "how many circles are there ?", ask_question),
    "point": Ability("Point", "What is meant", "the red circle on the left", point_at),
    "classify": Ability("Label", "A text, if the model has learnt with one", "", give_labels),
    "score": Ability("Score", "Captions, one a line", "a red circle above a blue square", score_captions, num_lines=3),
    "fill": Ability("Fill in", "A text with [MASK] for each word to find", "a [MASK] circle", fill_in),
}


class Stage(NamedTuple):
    """What all of the page shows and knows of a picture."""

    sight: "gr.State"
    drawn: "gr.Image"
    note: "gr.HTML"


def make_page(models: dict[str, Model], examples: Sequence[Path]) -> "gr.Blocks":
    """The page of some models, with pictures to choose from."""
    import gradio as gr

    finder = next(iter(models.values())).finder
    emptied: dict[Any, Any] = {}  # what the tabs show of a picture that has not been asked about
    with gr.Blocks(title="ViLBERT", analytics_enabled=False) as page, gr.Row():
        with gr.Column(min_width=300):
            upload = gr.UploadButton("Choose a picture", variant="primary")
            gallery = add_gallery(examples)
            stage = add_stage()
        with gr.Column(min_width=300), gr.Tabs():
            for name, ability in ABILITIES.items():
                if able := {key: model for key, model in models.items() if name in model.ask.abilities}:
                    emptied |= add_tab(ability, able, stage)

        def look(path: Path) -> dict[Any, Any]:
            sight = Sight(path)
            try:
                found = sight.by(finder)
            except ERRORS as error:
                return emptied | dict(zip(stage, (None, None, wrong(error)), strict=True))
            return emptied | dict(zip(stage, (sight, draw(found), counted(found)), strict=True))

        def look_at_upload(path: str) -> dict[Any, Any]:
            return look(Path(path))

        def look_at_example(event: gr.SelectData) -> dict[Any, Any]:
            return look(examples[event.index])

        changed = [*stage, *emptied]
        upload.upload(look_at_upload, upload, changed, show_progress_on=stage.drawn, **ONE_AT_A_TIME)
        gallery.select(look_at_example, None, changed, show_progress_on=stage.drawn, **ONE_AT_A_TIME)
    return page


def add_gallery(examples: Sequence[Path]) -> "gr.Gallery":
    import gradio as gr

    return gr.Gallery(
        [str(path) for path in examples],
        show_label=False,
        height="10em",
        allow_preview=False,
        buttons=[],
        elem_classes="examples",
        visible=bool(examples),
    )


def add_stage() -> Stage:
    import gradio as gr

    drawn = gr.Image(
        alt_text="The picture",
        interactive=False,
        show_label=False,
        buttons=["fullscreen"],
        format="png",
        height="min(27em, 90vw)",
    )
    return Stage(gr.State(), drawn, gr.HTML())


def add_tab(ability: Ability, models: dict[str, Model], stage: Stage) -> "dict[gr.components.Component, Any]":
    """The tab of what some models can be asked for; what it shows, with what each shows before it is asked."""
    import gradio as gr

    names = list(models)
    with gr.Tab(ability.tab):
        chosen = gr.Radio(names, value=names[0], label="Model", elem_classes="models", visible=len(names) > 1)
        text = gr.Textbox(label=ability.label, placeholder=ability.example, lines=ability.num_lines)
        button = gr.Button(ability.tab, variant="primary")
        said = gr.HTML()
        attention = gr.State()
        words = gr.Radio([], label="Show what a word looks at", visible=False)

    def show(html: str, looks: CoAttention | None) -> dict[Any, Any]:
        choices = [] if looks is None else looks.words
        return {said: html, attention: looks, words: gr.update(choices=choices, value=None, visible=bool(choices))}

    def ask(sight: Sight | None, name: str, asked: str) -> dict[Any, Any]:
        model = models[name]
        try:
            if sight is None:
                raise ValueError("there is no picture yet, expected one that is chosen first")
            found = sight.by(model.finder)
            answer = ability.ask(model.ask, found, asked)
            can_look = "attention" in model.ask.abilities and answer.text.strip()
            looks = model.ask.attention(found, answer.text) if can_look else None
        except ERRORS as error:
            return show(wrong(error), None)
        return show(answer.html, looks) | {stage.drawn: draw(found, box=answer.box), stage.note: counted(found)}

    def look(looks: CoAttention, word: str) -> tuple[Image.Image, str]:
        return scaled(looks).draw(word), remark(f"What '{word}' looks at, and in red what it looks at most.")

    gr.on(
        [button.click, text.submit],
        ask,
        [stage.sight, chosen, text],
        [said, attention, words, stage.drawn, stage.note],
        show_progress_on=said,
        **ONE_AT_A_TIME,
    )
    drawn, note = stage.drawn, stage.note
    words.input(look, [attention, words], [drawn, note], show_progress_on=drawn, **ONE_AT_A_TIME)
    return show("", None)


def draw(found: FoundRegions, *, box: Sequence[float] | None = None) -> Image.Image:
    """The picture with its regions, and with the box that is meant."""
    assert found.image is not None
    image, scale = resized(found.image)
    pencil = ImageDraw.Draw(image)
    for region in regions_of(found).boxes * scale:
        corners = [round(float(value)) for value in region]
        pencil.rectangle(corners, outline="#000000", width=4)  # seen on a light picture
        pencil.rectangle(corners, outline="#ffffff", width=2)  # and on a dark one
    if box is not None:
        mark(image, [scale * value for value in box])
    return image


def scaled(looks: CoAttention) -> CoAttention:
    """The same on a picture as large as it is shown."""
    assert looks.image is not None
    image, scale = resized(looks.image)
    return replace(looks, image=image, regions=replace(looks.regions, boxes=looks.regions.boxes * scale))


def resized(image: Image.Image) -> tuple[Image.Image, float]:
    """A picture as large as it is shown, and how many times as large that is."""
    scale = SIDE / max(image.size)
    return image.resize([max(1, round(side * scale)) for side in image.size]), scale


def counted(found: FoundRegions) -> str:
    return remark(f"{found.name}: {len(regions_of(found))} regions")


def headline(text: str) -> str:
    return f'<p class="said">{escape(text)}</p>'


def remark(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def wrong(error: Exception) -> str:
    return f'<p class="wrong" role="alert">{escape(in_words(error))}</p>'


def bars(probabilities: Iterable[tuple[str, float]]) -> str:
    """A row for each name, with its probability as a bar and in percent."""
    return table(
        f'<td>{escape(name)}</td><td class="bar"><i style="width: {100 * value:.1f}%"></i></td>'
        f'<td class="number">{value:.0%}</td>'
        for name, value in probabilities
    )


def table(rows: Iterable[str]) -> str:
    return f'<table class="rows">{"".join(f"<tr>{row}</tr>" for row in rows)}</table>'


if __name__ == "__main__":
    run(main)
