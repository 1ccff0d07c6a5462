import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_configs import make_two_stream

from vilbert.model.modeling_tasks import VilbertForQuestionAnswering
from vilbert.report.answers import Answer
from vilbert.report.examples import NUM_SHOWN, choose, main
from vilbert.settings import OwnTaskSettings

KEYS = {"kind", "picture", "text", "answer", "expected", "right", "score", "alternatives"}


def answers(num_right: int, num_wrong: int) -> list[Answer]:
    return [
        Answer("question", number, ("key",), "text", "answer", "expected", is_right=number < num_right)
        for number in range(num_right + num_wrong)
    ]


def test_six_that_are_right_and_six_that_are_wrong_are_shown():
    shown = choose(answers(23, 17), seed=1)
    assert [one.is_right for one in shown] == [True] * NUM_SHOWN + [False] * NUM_SHOWN
    assert len({one.example for one in shown}) == 2 * NUM_SHOWN
    assert shown == choose(answers(23, 17), seed=1)
    assert shown != choose(answers(23, 17), seed=2)


def test_where_there_are_fewer_all_are_shown():
    assert sorted(one.example for one in choose(answers(2, 0), seed=1)) == [0, 1]


@pytest.fixture
def show(drawn, tar, settings, tmp_path):
    """Runs the command on predictions; gives the rows, of which each has its picture."""

    def run(task: str, model: Path, predictions: Path) -> list[dict]:
        out = tmp_path / "out"
        main(task, model, predictions, Path(drawn.detected._paths[0]), drawn.annotations, tar, out, settings=settings)
        rows = json.loads((out / "examples.json").read_text())
        assert all(row.keys() == KEYS for row in rows)
        assert {path.name for path in out.iterdir()} == {"examples.json", *(row["picture"] for row in rows)}
        for row in rows:
            with Image.open(out / row["picture"]) as picture:
                assert max(picture.size) <= (1016 if task == "retrieval" else 480)
        return rows

    return run


def test_questions_have_the_three_likeliest_answers(show, held_out, drawn, tmp_path):
    split, dataset = held_out("vqa")
    torch.manual_seed(0)
    config = make_two_stream(
        vocab_size=199,
        visual_feature_size=11,
        visual_num_classes=3,
        max_position_embeddings=101,
        num_labels=len(dataset.answers),
        id2label=dict(enumerate(dataset.answers)),
    )
    model = VilbertForQuestionAnswering(config).eval()
    model.save_pretrained(tmp_path / "model")
    drawn.processor.save_pretrained(tmp_path / "model")
    with torch.inference_mode():
        dataset.write(dataset.predict(model), tmp_path, split)
    rows = show("vqa", tmp_path / "model", tmp_path)
    assert {row["kind"] for row in rows} == {"question"}
    for row in rows:
        (best, score), *others = row["alternatives"]
        assert (row["answer"], row["score"]) == (best, score)
        assert len(others) == 2
        assert 1 > score >= others[0][1] >= others[1][1] > 0


def test_a_retrieval_is_a_strip_of_the_best_images(show, held_out, drawn, tmp_path):
    split, dataset = held_out("retrieval")
    drawn.processor.save_pretrained(tmp_path / "model")
    rows = [{"annotation": one.annotation, "images": dataset.keys} for one in dataset.captions]
    (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    shown = show("retrieval", tmp_path / "model", tmp_path)
    assert [row["right"] for row in shown] == sorted([row["right"] for row in shown], reverse=True)
    with Image.open(tmp_path / "out" / shown[0]["picture"]) as picture:
        assert picture.size == (1016, 200)


def test_what_is_pointed_at_is_drawn(show, held_out, drawn, tmp_path):
    split, dataset = held_out("refcoco")
    drawn.processor.save_pretrained(tmp_path / "model")
    rows = [{"annotation": one.annotation, "box": list(one.box), "overlap": 1.0} for one in dataset.expressions]
    (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    (row, *_) = show("refcoco", tmp_path / "model", tmp_path)
    assert (row["kind"], row["right"], row["score"]) == ("pointing", True, None)
    with Image.open(tmp_path / "out" / row["picture"]) as picture:
        is_red = (np.abs(np.asarray(picture).astype(int) - [0xE6, 0x19, 0x4B]) < 40).all(axis=-1)
    assert is_red.sum() > 30


def test_a_task_of_ones_own_is_shown_by_its_kind(drawn, tar, settings, tmp_path):
    keys = sorted(drawn.detected)[:6]
    rows = [
        f"{key},{label},{split}" for key, label, split in zip(keys, "abbaab", ["train"] * 3 + ["val"] * 3, strict=True)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["file,label,split", *rows]))
    own = OwnTaskSettings(kind="classification", table="table.csv")
    section = settings.model_copy(update={"tasks": {"mine": own}})
    drawn.processor.save_pretrained(tmp_path / "model")
    given = [("line 5", "a", 0.9), ("line 6", "a", 0.7), ("line 7", "a", 0.6)]
    predictions = [
        {"annotation": name, "labels": [label], "probabilities": {"a": score, "b": 1 - score}}
        for name, label, score in given
    ]
    (tmp_path / "val.json").write_text(json.dumps(predictions))
    store = Path(drawn.detected._paths[0])
    main("mine", tmp_path / "model", tmp_path, store, tmp_path, tar, tmp_path / "out", settings=section)
    shown = json.loads((tmp_path / "out/examples.json").read_text())
    assert sorted((row["right"], row["expected"], row["score"]) for row in shown) == [
        (False, "b", 0.6),
        (True, "a", 0.7),
        (True, "a", 0.9),
    ]
    assert {(row["kind"], row["answer"], row["text"]) for row in shown} == {("choice", "a", "")}
