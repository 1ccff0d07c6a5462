"""The page as its user has it: the command, and a browser that looks at what it serves."""

import io
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import PATIENCE, free_port, opened, shown
from commands import ONE_THREAD, failure
from PIL import Image
from playwright.sync_api import Page, expect
from small_run import make_model, make_picture, make_run

import vilbert
from extract.devices import DeviceChoice
from vilbert.looking import MARK
from vilbert.model.modeling_tasks import MULTI_LABEL, VilbertForClassification, VilbertForQuestionAnswering
from vilbert.model.modeling_tasks import VilbertForRegionGrounding as Grounding
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.page import SIDE, Sight, bars, load_models, score_captions, stay_offline


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def models(run) -> dict[str, Path]:
    """A model of each kind, by what it can be asked for."""
    answers = {number: f"answer <{number}>" for number in range(31)}
    labels = {0: "calm", 1: "stormy", 2: "grey"}
    several = {"problem_type": MULTI_LABEL, "id2label": labels, "num_labels": 3}
    return {
        "answer": make_model(run, VilbertForQuestionAnswering, name="vqa", id2label=answers),
        "point": make_model(run, Grounding, name="refcoco"),
        "classify": make_model(run, VilbertForClassification, name="labels", **several),
        "fill": make_model(run, VilbertForPreTraining, name="pretrain"),
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder of one picture."""
    folder = tmp_path_factory.mktemp("pictures")
    make_picture().save(folder / "ü b.png")
    return folder


def demo(*arguments: object) -> list[str]:
    return ["-m", "vilbert.cli", "demo", *map(str, arguments)]


@pytest.fixture(scope="module")
def address(models, pictures, tmp_path_factory) -> Iterator[str]:
    """Of the page of all those models, which is shown until the tests have ended."""
    port = free_port()
    with shown(
        demo(*models.values(), "--pictures", pictures, "--port", port), tmp_path_factory.mktemp("log")
    ) as address:
        yield address


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    with opened(browser, address) as page:
        yield page


def choose(page: Page, picture: Path) -> None:
    page.set_input_files("input[type=file]", picture)
    expect(page.get_by_text(re.compile(f"{re.escape(picture.name)}: "))).to_be_visible(timeout=PATIENCE)


def ask(page: Page, tab: str, text: str) -> str:
    """What the page says below the button, once it does."""
    page.get_by_role("tab", name=tab, exact=True).click()
    panel = page.locator("[role=tabpanel]:visible")
    panel.locator("textarea:visible, input[type=text]:visible").fill(text)
    panel.get_by_role("button", name=tab, exact=True).click()
    said = panel.locator(".said, .rows, .wrong").first
    expect(said).to_be_visible(timeout=PATIENCE)
    return panel.inner_text()


def drawn(page: Page) -> np.ndarray:
    """The pixels of the picture that the page shows."""
    source = page.locator("img[alt='The picture']").get_attribute("src")
    assert source is not None
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"))


def is_marked(pixels: np.ndarray) -> np.ndarray:
    """[H, W] of the pixels that have the colour of what is meant."""
    return (pixels == [int(MARK[start : start + 2], 16) for start in (1, 3, 5)]).all(axis=-1)


@pytest.mark.slow
@pytest.mark.browser
def test_a_picture_is_asked_about_pointed_into_filled_in_and_looked_at(page, models, pictures):
    (picture,) = pictures.iterdir()
    choose(page, picture)
    assert max(drawn(page).shape) == SIDE
    (row,) = vilbert.pipeline(models["answer"])(picture, "how many ?")
    said = ask(page, "Ask", "how many ?")
    assert row["answers"][0]["answer"] in said
    assert f"{row['answers'][0]['probability']:.0%}" in said

    assert not is_marked(drawn(page)).any()
    (row,) = vilbert.pipeline(models["point"])(picture, "a red circle")
    assert "score of the red box" in ask(page, "Point", "a red circle")
    lines, columns = np.nonzero(is_marked(drawn(page)))
    box = [columns.min(), lines.min(), columns.max(), lines.max()]
    assert box == pytest.approx([value * SIDE / 97 for value in row["box"]], abs=1.5)

    pretrained = vilbert.pipeline(models["fill"])
    (row,) = pretrained.fill(picture, "a [MASK] circle")
    assert f"a {row['masks'][0][0]['word']} circle" in ask(page, "Fill in", "a [MASK] circle")
    before = drawn(page)
    page.locator("[role=tabpanel]:visible").get_by_label("circle").check()
    expect(page.get_by_text("What 'circle' looks at")).to_be_visible(timeout=PATIENCE)
    after = drawn(page)
    assert is_marked(after).any()
    assert not is_marked(before).any()

    (row,) = vilbert.pipeline(models["classify"])(picture)
    said = ask(page, "Label", "")
    assert all(label in said for label in row["probabilities"])


@pytest.mark.slow
@pytest.mark.browser
def test_what_is_wrong_is_a_sentence_on_the_page(page, pictures, tmp_path):
    assert "there is no picture yet" in ask(page, "Ask", "how many ?")
    (tmp_path / "notes.jpg").write_text("no picture")
    page.set_input_files("input[type=file]", tmp_path / "notes.jpg")
    expect(page.get_by_text("notes.jpg cannot be looked at: not_an_image")).to_be_visible(timeout=PATIENCE)
    page.locator(".examples button:visible").first.click()
    expect(page.get_by_text("ü b.png: ")).to_be_visible(timeout=PATIENCE)
    assert "the text is empty" in ask(page, "Ask", " ")
    assert "'a circle' has no [MASK]" in ask(page, "Fill in", "a circle")


def test_models_of_one_detector_load_it_once_and_look_at_a_picture_once(models, pictures):
    loaded = load_models(list(models.values()), detector=None, settings=None, device=DeviceChoice.CPU)
    (finder,) = {model.finder for model in loaded.values()}
    (picture,) = pictures.iterdir()
    seen = Sight(picture)
    assert seen.by(finder) is seen.by(finder)
    assert seen.by(finder).name == "ü b.png"


def test_captions_stand_in_the_order_of_their_scores(models, pictures):
    scorer = vilbert.pipeline(models["fill"])
    (found,) = scorer.find(list(pictures.iterdir()))
    captions = ["a red circle", "the blue square", "how many <b> ?"]
    scores = [scorer.score(found, caption)[0]["score"] for caption in captions]
    said = score_captions(scorer, found, "\n\n".join(captions))
    assert said.text == captions[int(np.argmax(scores))]
    assert re.findall(r"-?\d+\.\d\d", said.html) == [f"{score:.2f}" for score in sorted(scores, reverse=True)]
    assert "&lt;b&gt;" in said.html


def test_an_answer_is_text_and_no_html():
    assert bars([("<script>", 0.25)]) == (
        '<table class="rows"><tr><td>&lt;script&gt;</td><td class="bar"><i style="width: 25.0%"></i></td>'
        '<td class="number">25%</td></tr></table>'
    )


def test_without_gradio_the_command_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", {"NO_PROXY": "example.org"})
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=r"pip install 'vilbert\[demo\]'"):
        stay_offline(keep_in=tmp_path)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["no_proxy"] == "example.org,127.0.0.1"


@pytest.mark.slow
def test_what_is_wrong_is_a_sentence_in_the_terminal(models, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = failure(demo(models["answer"], "--port", port), env=ONE_THREAD)
    assert said == (
        f"error: port {port} of 127.0.0.1 is taken or may not be used, expected a free one: name it by --port"
    )
    shutil.copytree(models["answer"], tmp_path / "alone")
    said = failure(demo(tmp_path / "alone"), env=ONE_THREAD)
    assert re.match(r"error: no detector of the sha256 .* is near .*; name it as detector", said)
