import numpy as np
import pytest

from vilbert.batches.padding import Tokens
from vilbert.search.captions import Captions
from vilbert.search.mining import mine, nearest_wrong, read_mined, write_mined


def captions_of(texts, image_of, *, num_images):
    tokens = [Tokens(np.arange(len(text)), np.zeros(len(text), np.int64)) for text in texts]
    keys = [f"image-{place}" for place in range(num_images)]
    return Captions(texts, tokens, keys, np.array(image_of))


def test_a_caption_is_right_of_all_images_that_it_or_an_equal_one_is_of():
    captions = captions_of(["a", "b", "a"], [0, 1, 2], num_images=3)
    assert [one.tolist() for one in captions.right_images] == [[0, 2], [1], [0, 2]]
    assert [one.tolist() for one in captions.right_captions] == [[0, 2], [1], [0, 2]]


def test_the_nearest_that_are_wrong_stand_in_their_order():
    queries = np.array([[1.0, 0.0]])
    candidates = np.array([[0.9, 0], [0.5, 0], [0.7, 0], [0.1, 0]])
    assert nearest_wrong(queries, candidates, [np.array([0])], num_mined=2).tolist() == [[2, 1]]


def test_each_query_gets_as_many_as_are_wrong_for_every_one():
    vectors = np.eye(3)
    assert nearest_wrong(vectors, vectors, [np.array([0, 1]), np.array([1]), np.array([2])], num_mined=9).shape == (
        3,
        1,
    )


def test_what_is_right_or_equal_is_never_mined():
    captions = captions_of(["a", "b", "a", "c", "d"], [0, 1, 2, 3, 3], num_images=4)
    generator = np.random.default_rng(0)
    mined = mine(generator.normal(size=(5, 7)), generator.normal(size=(4, 7)), captions, num_mined=2)
    for row, right in enumerate(captions.right_images):
        assert not set(mined.images[row]) & set(right.tolist())
    for column, right in enumerate(captions.right_captions):
        assert not set(mined.captions[column]) & set(right.tolist())


def test_where_all_is_right_there_is_nothing_to_mine():
    with pytest.raises(ValueError, match="all 1 candidates are right for one of the queries"):
        nearest_wrong(np.eye(1), np.eye(1), [np.array([0])], num_mined=3)


def test_what_was_mined_is_read_again_and_a_damaged_file_is_named(tmp_path):
    captions = captions_of(["a", "b"], [0, 1], num_images=2)
    mined = mine(np.eye(2), np.eye(2), captions, num_mined=5)
    write_mined(tmp_path / "mined-1.npz", mined)
    np.testing.assert_array_equal(read_mined(tmp_path / "mined-1.npz").images, [[1], [0]])
    whole = (tmp_path / "mined-1.npz").read_bytes()
    (tmp_path / "mined-1.npz").write_bytes(b"PK" + whole[2:9])
    with pytest.raises(ValueError, match=r"mined-1\.npz is damaged .*; remove it"):
        read_mined(tmp_path / "mined-1.npz")
