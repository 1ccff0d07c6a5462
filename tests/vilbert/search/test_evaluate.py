import csv

import numpy as np
import pytest

from vilbert.model.directory import read_processor
from vilbert.search.evaluate import main as evaluate
from vilbert.search.evaluate import reranked
from vilbert.search.every_pair import main as score_every_pair
from vilbert.search.every_pair import read_every_pair
from vilbert.search.searched import read_searched

from search_world import search_settings  # isort: skip

SPLITS = {"train_split": "train", "validation_split": "val"}


def test_the_best_are_ranked_by_the_teacher_before_all_others():
    similarities = np.array([[0.9, 0.8, 0.7, 0.6]])
    scores = np.array([[-5.0, 3, 9, 99]])
    assert np.argsort(-reranked(similarities, scores, 3))[0].tolist() == [2, 1, 0, 3]
    assert np.argsort(-reranked(similarities, scores, 1))[0].tolist() == [0, 1, 2, 3]


def test_re_ranking_all_is_scoring_every_pair():
    generator = np.random.default_rng(0)
    similarities, scores = generator.random((5, 7)), generator.normal(size=(5, 7)) * 9
    np.testing.assert_array_equal(np.argsort(-reranked(similarities, scores, 7)), np.argsort(-scores))


def test_a_search_is_measured_among_held_out_images_first(search_world, dual_encoder, tmp_path):
    stores, settings = search_world.world.stores, search_settings()
    every_pair, table, figure = (tmp_path / name for name in ("pairs.npz", "search.csv", "search.svg"))
    score_every_pair(search_world.pairs, search_world.teacher, stores, every_pair, settings=settings, **SPLITS)
    whole = read_every_pair(every_pair)
    assert whole.scores.shape == (19, 17)
    assert [key.startswith("val-") for key in whole.image_keys] == [True] * 11 + [False] * 6
    evaluate(
        dual_encoder,
        search_world.teacher,
        search_world.pairs,
        every_pair,
        stores,
        table,
        figure,
        settings=settings,
        **SPLITS,
    )
    with table.open() as file:
        rows = {row["way"]: row for row in csv.DictReader(file)}
    assert [*rows] == [
        *("first stage", "best 1 re-ranked", "best 3 re-ranked", "every pair scored", "every pair, by both models"),
        *("a rule that learns nothing", "chance", "ceiling"),
    ]
    assert [row["k"] for row in rows.values()] == ["0", "1", "3", "17", "17", "", "", ""]
    assert rows["best 1 re-ranked"]["recall_at_1"] == rows["first stage"]["recall_at_1"]
    assert [rows[way]["pairs_scored"] for way in list(rows)[:5]] == ["0", "19", "57", "323", "323"]
    sizes = ("queries", "images", "images_of_training")
    assert {tuple(row[name] for name in sizes) for row in rows.values()} == {("19", "17", "6")}
    assert {rows["ceiling"][f"recall_at_{limit}"] for limit in (1, 5, 10)} == {"1.0"}
    assert float(rows["chance"]["recall_at_1"]) == pytest.approx(1 / 17, abs=0.01)
    assert "<svg" in figure.read_text()


def test_every_pair_of_another_search_is_refused(search_world, dual_encoder, tmp_path):
    stores, every_pair = search_world.world.stores, tmp_path / "pairs.npz"
    settings = search_settings(num_images=5)
    score_every_pair(search_world.pairs, search_world.teacher, stores, every_pair, settings=settings, **SPLITS)
    with pytest.raises(ValueError, match="every pair was scored of other captions or images"):
        evaluate(
            *(dual_encoder, search_world.teacher, search_world.pairs, every_pair, stores),
            *(tmp_path / "a.csv", tmp_path / "a.svg"),
            settings=search_settings(),
            **SPLITS,
        )


def test_a_caption_is_right_of_every_image_that_an_equal_one_is_of(search_world):
    tokenizer = read_processor(search_world.teacher).tokenizer
    searched = read_searched(
        search_world.pairs, splits=("train", "val"), settings=search_settings(), tokenizer=tokenizer, max_tokens=29
    )
    assert searched.num_held_out == 11
    assert searched.is_right.any(axis=1).all()
    assert not searched.is_right[:, :11].all()
