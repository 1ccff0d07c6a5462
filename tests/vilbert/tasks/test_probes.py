import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from seen_classes import BOTTOM_RIGHT, TOP_LEFT, store_of
from small_configs import make_two_stream

from extract.regions.store import RegionStore
from vilbert.batches.padding import pad_images
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.tasks.probes import (
    Probe,
    class_margins,
    head_margins,
    main,
    measure,
    read_captions,
    read_probes,
    share_above,
    word_margins,
)

PROBES = [
    Probe("a", "a red circle", "a blue square", "shape"),
    Probe("b", "a red circle", "a blue square", "shape"),
    Probe("gone", "a red circle", "a blue square", "shape"),
    Probe("a", "a red circle left of a blue square", "a red circle right of a blue square", "relation"),
    Probe("b", "a blue square , a red circle", "a red circle , a blue square", "relation"),
]


@pytest.fixture
def store(tmp_path) -> RegionStore:
    """Image a shows a red circle, image b a blue square."""
    return store_of(tmp_path / "store.lmdb", {"a": [(TOP_LEFT, 1)], "b": [(BOTTOM_RIGHT, 2)]})


def write(path, probes):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([Probe._fields, *probes])
    return path


def test_probes_are_read_whole_and_more_columns_do_no_harm(tmp_path):
    assert read_probes(write(tmp_path / "probes.csv", PROBES)) == PROBES
    (tmp_path / "more.csv").write_text("foil,image,number,caption,kind\nno,a,7,yes,mine\n")
    assert read_probes(tmp_path / "more.csv") == [Probe("a", "yes", "no", "mine")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption,kind\na,yes,mine\n", "has no column foil, expected image, caption, foil, kind"),
        ("image,caption,foil,kind\n", "holds no probe"),
        ("image,caption,foil,kind\na,yes,no,mine\na,yes, ,mine\n", "line 3, has an empty field"),
        ("image,caption,foil,kind\na,yes\n", "line 2, has an empty field"),
    ],
)
def test_another_file_is_an_error(tmp_path, text, message):
    (tmp_path / "probes.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"probes\.csv.*{message}"):
        read_probes(tmp_path / "probes.csv")


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path):
    (tmp_path / "probes.csv").write_text("image,caption,foil,kind\na,yes,no,mine\n", encoding="utf-8-sig")
    assert read_probes(tmp_path / "probes.csv") == [Probe("a", "yes", "no", "mine")]


@pytest.mark.parametrize(
    "data",
    [b'a,"yes,no,mine\nb,yes,no,mine\n', b"a,caf\xe9,no,mine\n", b"a," + b"x" * 200_000 + b",no,mine\n"],
    ids=["a quote that is never closed", "Latin-1", "a field of 200 kB"],
)
def test_what_is_no_csv_of_probes_is_named(tmp_path, data):
    (tmp_path / "probes.csv").write_bytes(b"image,caption,foil,kind\n" + data)
    with pytest.raises(ValueError, match=r"probes\.csv is no csv of probes: "):
        read_probes(tmp_path / "probes.csv")


def test_the_margin_is_how_much_likelier_aligned_the_caption_is_than_the_foil(store, drawn):
    model = VilbertForPreTraining(make_two_stream(vocab_size=199, visual_feature_size=11)).eval()
    margins = head_margins(model, PROBES, store, drawn.processor)
    assert np.isnan(margins).tolist() == [False, False, True, False, False]
    for number in (0, 3, 4):
        probe = PROBES[number]
        batch = drawn.processor.encode_text([probe.caption, probe.foil])
        batch |= pad_images([store[probe.image]] * 2, has_whole_image=True)
        with torch.inference_mode():
            caption, foil = model(**batch).alignment_logits.diff(dim=-1)[:, 0].tolist()
        assert margins[number] == pytest.approx(caption - foil, abs=1e-4)


def test_the_detectors_classes_know_what_is_there_but_not_where(store):
    margins = class_margins(PROBES, store)
    assert margins[:2] == pytest.approx([0.85, -0.85], abs=1e-3)
    assert np.isnan(margins[2])
    assert margins[3:] == pytest.approx([0, 0], abs=1e-12)


def test_words_that_stood_together_are_likelier():
    margins = word_margins(PROBES, ["a red circle", "a red square", "red"])
    assert margins[0] > 0
    # 'of' was never seen; a red circle, then left or right of something: equally likely
    assert margins[3] == pytest.approx(0)


def test_captions_are_those_of_one_split(tmp_path):
    rows = {"key": ["train-00000001", "val-00000001"], "caption": ["this", "that"], "image_key": ["x", "y"]}
    pq.write_table(pa.table(rows), tmp_path / "pairs.parquet")
    assert read_captions(tmp_path / "pairs.parquet", split="train") == ["this"]


def test_equals_are_wrong_for_a_model_and_half_right_for_a_baseline_and_what_has_no_features_is_wrong(store):
    margins = np.array([0.5, -0.5, np.nan, 1e-12, 2])
    table = measure(PROBES, {"accuracy": margins, "blind": None, "rule": margins}, store)
    assert table.columns.tolist() == ["kind", "accuracy", "chance", "blind", "rule", "num_examples", "num_dropped"]
    assert table.to_numpy().tolist() == [
        ["shape", 0.3333, 0.5, None, 0.3333, 3, 1],
        ["relation", 0.5, 0.5, None, 0.75, 2, 0],
    ]
    assert share_above(np.array([np.nan, np.nan]), worth_of_equals=0.5) == 0


def test_the_command_writes_a_row_for_each_kind(store, drawn, tmp_path):
    model = VilbertForPreTraining(make_two_stream(vocab_size=199, visual_feature_size=11))
    model.save_pretrained(tmp_path / "model")
    drawn.processor.save_pretrained(tmp_path / "model")
    main(tmp_path / "model", tmp_path / "store.lmdb", write(tmp_path / "probes.csv", PROBES), tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["kind"].tolist() == ["shape", "relation"]
    assert table["blind"].isna().all()
    assert table["rule"].tolist() == [pytest.approx(1 / 3, abs=1e-3), 0.5]
    assert table["num_dropped"].tolist() == [1, 0]
