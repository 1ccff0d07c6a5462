import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from places import REAL
from small_configs import make_two_stream

from vilbert.batches.sampling import Draw
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.tasks.retrieval import Caption, RetrievalDataset, nearest_images, read_captions

SAMPLE = REAL / "coco/captions.json"


def captions(drawn, split):
    return [
        one for one in read_captions(drawn.annotations / "karpathy/dataset_drawn.json").examples if one.split == split
    ]


def dataset(drawn, tmp_path, split="train"):
    neighbours = tmp_path / "nearest.npz" if split == "train" else None
    return RetrievalDataset(
        captions(drawn, split), drawn.detected, drawn.processor, max_tokens=17, seed=3, neighbours=neighbours
    )


def karpathy(path, images):
    path.write_text(json.dumps({"images": images}))
    return path


def test_every_drawn_image_has_five_captions(drawn):
    assert len(captions(drawn, "train")) == 35
    assert len(captions(drawn, "val")) == 25


def test_blanks_and_newlines_within_real_captions_are_one_blank(tmp_path):
    if not SAMPLE.is_file():
        pytest.skip(f"no real captions at {SAMPLE}")
    by_image: dict[int, list[str]] = {}
    for row in json.loads(SAMPLE.read_text())["annotations"]:
        by_image.setdefault(row["image_id"], []).append(row["caption"])
    images = [
        {
            "filename": f"{image:012d}.jpg",
            "imgid": image,
            "split": "restval",
            "sentences": [{"sentid": image * 10 + place, "raw": raw} for place, raw in enumerate(raws)],
        }
        for image, raws in by_image.items()
    ]
    reading = read_captions(karpathy(tmp_path / "coco.json", images))
    assert len(reading.examples) == sum(map(len, by_image.values())) > 150
    assert {one.split for one in reading.examples} == {"train"}
    assert all(one.text == " ".join(one.text.split()) for one in reading.examples)


def test_empty_captions_and_images_without_any_are_dropped(tmp_path):
    images = [
        {"filename": "a.jpg", "imgid": 1, "split": "val", "sentences": [{"sentid": 5, "raw": " \n"}]},
        {"filename": "b.jpg", "imgid": 2, "split": "val", "sentences": []},
    ]
    reading = read_captions(karpathy(tmp_path / "x.json", images))
    assert not reading.examples
    assert [(row.annotation, row.reason) for row in reading.dropped] == [
        ("image 2", "no_caption"),
        ("5", "empty_caption"),
    ]


def test_the_nearest_images_are_found_once(drawn, tmp_path):
    keys = list(drawn.detected)[:7]
    cache = tmp_path / "nearest.npz"
    nearest = nearest_images(drawn.detected, keys, cache=cache)
    means = np.stack([drawn.detected[key].features.astype(np.float32).mean(axis=0) for key in keys])
    for row in range(7):
        distances = ((means - means[row]) ** 2).sum(axis=1)
        distances[row] = np.inf
        assert nearest[row, 0] == distances.argmin()
        assert sorted(nearest[row]) == [place for place in range(7) if place != row]
    written = cache.stat().st_mtime_ns
    np.testing.assert_array_equal(nearest_images(drawn.detected, keys, cache=cache), nearest)
    assert cache.stat().st_mtime_ns == written
    assert nearest_images(drawn.detected, keys[:5], cache=cache).shape == (5, 4)


@pytest.mark.parametrize("kind", ["cut", "empty", "zeros", "changed"])
def test_damaged_nearest_images_are_found_anew_with_a_line_that_says_so(drawn, tmp_path, capsys, kind):
    keys, cache = list(drawn.detected)[:7], tmp_path / "nearest.npz"
    nearest = nearest_images(drawn.detected, keys, cache=cache)
    whole = cache.read_bytes()
    place = whole.index(nearest.tobytes())
    damaged = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "zeros": bytes(len(whole)),
        "changed": whole[:place] + b"\6" + whole[place + 1 :],
    }
    cache.write_bytes(damaged[kind])
    np.testing.assert_array_equal(nearest_images(drawn.detected, keys, cache=cache), nearest)
    assert f"{cache} is damaged (" in capsys.readouterr().err
    assert cache.read_bytes() == whole


def test_processes_that_find_them_at_the_same_time_are_not_in_each_others_way(drawn, tmp_path):
    keys, cache = list(drawn.detected)[:7], tmp_path / "nearest.npz"
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda _: nearest_images(drawn.detected, keys, cache=cache), range(50)))
    for one in found:
        np.testing.assert_array_equal(one, found[0])
    assert list(tmp_path.iterdir()) == [cache]


def test_of_four_pairs_the_first_is_right_and_the_others_are_wrong(drawn, tmp_path):
    data = dataset(drawn, tmp_path)
    for example in range(35):
        (text, image), (other, same), (own, other_image), (hard, hard_image) = data.competing(Draw(1, example))
        assert (text, image) == (example, data.image_of[example])
        assert same == hard_image == image
        assert own == example
        assert other_image != image
        for wrong in (other, hard):
            assert data.image_of[wrong] != image
            assert not np.array_equal(data.texts[wrong].ids, data.texts[example].ids)


def test_draws_depend_on_seed_epoch_and_example_alone(drawn, tmp_path):
    data = dataset(drawn, tmp_path)
    assert data.competing(Draw(1, 5)) == data.competing(Draw(1, 5))
    assert any(data.competing(Draw(1, example)) != data.competing(Draw(2, example)) for example in range(5))


def test_a_batch_is_what_the_model_takes(drawn, tmp_path):
    batch = dataset(drawn, tmp_path).__getitems__([Draw(0, 3), Draw(0, 11), Draw(0, 20)])
    assert batch["input_ids"].shape[:2] == (3, 4)
    assert batch["visual_features"].shape[:2] == (3, 4)
    assert batch["labels"].tolist() == [0, 0, 0]
    model = VilbertForImageTextRetrieval(make_two_stream(vocab_size=199, visual_feature_size=11))
    output = model(**batch)
    assert output.logits.shape == (3, 4)
    output.loss.backward()


def test_a_model_without_a_whole_image_gets_none(drawn, tmp_path):
    data = dataset(drawn, tmp_path)
    bare = RetrievalDataset(
        data.captions,
        drawn.detected,
        drawn.processor_of_mmf,
        max_tokens=17,
        seed=3,
        neighbours=tmp_path / "nearest.npz",
    )
    (batch, whole) = (one.__getitems__([Draw(0, 3), Draw(0, 11)]) for one in (bare, data))
    for name in ("visual_features", "visual_boxes", "visual_attention_mask"):
        assert torch.equal(batch[name], whole[name][:, :, 1:])
    torch.manual_seed(0)
    model = VilbertForImageTextRetrieval(make_two_stream(vocab_size=199, visual_feature_size=11)).eval()
    with torch.no_grad():
        expected = model(**{name: value[:, :1] for name, value in batch.items() if name != "labels"}).logits
    scores = bare.predict(model)
    assert scores[3, bare.image_of[3]] == pytest.approx(float(expected[0, 0]), abs=1e-5)
    assert scores[11, bare.image_of[11]] == pytest.approx(float(expected[1, 0]), abs=1e-5)


def test_scores_stand_by_caption_and_image(drawn, tmp_path):
    torch.manual_seed(0)
    data = dataset(drawn, tmp_path, "val")
    model = VilbertForImageTextRetrieval(make_two_stream(vocab_size=199, visual_feature_size=11)).eval()
    assert data.predict(model).shape == (25, 5)
    metrics = data.measure(data.predict(model))
    assert metrics["image_recall_at_5"] == 1
    assert 1 <= metrics["image_median_rank"] <= 5


def test_a_row_that_lacks_something_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"x\.json, images: row 0 has no 'imgid'"):
        read_captions(karpathy(tmp_path / "x.json", [{"filename": "a.jpg", "split": "val", "sentences": []}]))


def test_odd_rows_are_dropped_with_what_is_odd(tmp_path):
    image = {"filename": "a.jpg", "imgid": 1, "split": "val", "sentences": [{"sentid": 1, "raw": "a dog"}]}
    odd = [
        image,
        {**image, "imgid": 2, "sentences": [{"sentid": 2, "raw": None}, {"sentid": 3, "raw": "a cat \ud83d"}]},
        {**image, "imgid": 3, "sentences": [{"sentid": 4, "tokens": ["a"]}]},
        {**image, "imgid": 4, "sentences": None},
        {**image, "imgid": 5, "filename": None},
        {**image, "imgid": 6, "split": ["val"]},
        {**image, "imgid": {}},
        {**image, "imgid": 8, "sentences": [{"sentid": [], "raw": "a"}]},
        {**image, "imgid": 9, "sentences": [{"sentid": 5, "raw": 7}]},
    ]
    kept, dropped = read_captions(karpathy(tmp_path / "x.json", odd))
    assert kept == [Caption("1", "a", "val", "a dog"), Caption("5", "a", "val", "7")]
    assert dropped == [
        ("image 3", "bad_value", "sentences: row 0 has no 'raw', expected sentid, raw"),
        ("image 4", "bad_value", "sentences are no list"),
        ("image 5", "bad_value", "filename is None, expected a text"),
        ("image 6", "bad_value", "split is ['val'], expected a text"),
        ("row 6", "bad_value", "imgid is {}, expected a text"),
        ("image 8", "bad_value", "sentid is [], expected a text"),
        ("2", "bad_value", "raw is None, expected a text"),
        ("3", "bad_value", r"raw is 'a cat \ud83d', which is no Unicode: surrogates not allowed"),
    ]


def test_sentences_that_are_numbered_anew_for_each_image_are_told_apart(tmp_path):
    """They were duplicates of the first image's: of a hundred images five captions were left."""
    images = [
        {
            "filename": f"{name}.jpg",
            "imgid": number,
            "split": "val",
            "sentences": [{"sentid": place, "raw": raw} for place, raw in enumerate(("a dog", f"a {name}", ""))],
        }
        for number, name in enumerate(("cat", "cow"), start=7)
    ]
    kept, dropped = read_captions(karpathy(tmp_path / "x.json", images))
    assert [(one.annotation, one.text) for one in kept] == [
        ("7-0", "a dog"),
        ("7-1", "a cat"),
        ("8-0", "a dog"),
        ("8-1", "a cow"),
    ]
    assert dropped == [("7-2", "empty_caption", "''"), ("8-2", "empty_caption", "''")]


def test_the_best_images_of_each_caption_are_measured_and_written(drawn, tmp_path):
    data = dataset(drawn, tmp_path, "val")
    scores = torch.zeros(25, 5)
    scores[range(25), data.image_of] = 2
    scores[range(25), [(column + 1) % 5 for column in data.image_of]] = 1
    assert data.measure(scores)["image_recall_at_1"] == data.measure(scores)["text_recall_at_1"] == 1
    scores[range(25), [(column + 2) % 5 for column in data.image_of]] = torch.nan
    data.write(scores, tmp_path, "val")
    rows = json.loads((tmp_path / "val.json").read_text())
    assert [row["annotation"] for row in rows] == [caption.annotation for caption in data.captions]
    for row, column in zip(rows, data.image_of, strict=True):
        assert row["images"][:2] == [data.keys[column], data.keys[(column + 1) % 5]]
        assert row["images"][4] == data.keys[(column + 2) % 5]


def test_one_image_alone_cannot_be_told_apart(drawn, tmp_path):
    alone = [one for one in captions(drawn, "train") if one.image_key == "000000000001"]
    with pytest.raises(ValueError, match="all captions are of one image"):
        RetrievalDataset(
            alone, drawn.detected, drawn.processor, max_tokens=9, seed=0, neighbours=tmp_path / "nearest.npz"
        )
