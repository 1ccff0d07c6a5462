import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vilbert.batches.tokens import TokenTable, first_images, main, tokenize, train_tokenizer
from vilbert.settings import TextSettings

CAPTIONS = ["a red dog .", "Two dogs run", "a red ball"]


def write(tmp_path, captions, **changed):
    rows = [
        {"key": f"train-{row:08d}", "image_key": "train-0", "caption": text, "num_regions": 10 + row}
        for row, text in enumerate(captions)
    ]
    names = {"key": pa.string(), "image_key": pa.string(), "caption": pa.string(), "num_regions": pa.int32()}
    schema = pa.schema(list(names.items()))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "pairs.parquet")
    settings = {"tokenizer": None, "vocab_size": 97, "max_tokens": 6} | changed
    out = tmp_path / "tokens.parquet"
    main(tmp_path / "pairs.parquet", out, tmp_path / "tokenizer", TextSettings.model_validate(settings))
    return out


def test_a_caption_becomes_its_words_between_cls_and_sep():
    tokenizer = train_tokenizer(CAPTIONS, vocab_size=97)
    ids = tokenize(CAPTIONS, tokenizer, max_tokens=7).to_pylist()
    assert tokenizer.convert_ids_to_tokens(ids[1]) == ["[CLS]", "two", "dogs", "run", "[SEP]"]


def test_a_rare_word_is_spelled():
    tokenizer = train_tokenizer(["aa aa b"], vocab_size=10)
    assert tokenizer.tokenize("aa bab") == ["aa", "b", "##a", "##b"]


def test_a_vocabulary_without_room_for_the_characters_is_refused():
    with pytest.raises(ValueError, match=r"text.vocab_size is 8, the captions' characters alone need 11"):
        train_tokenizer(["abc"], vocab_size=8)


def test_long_captions_are_cut_before_sep(tmp_path):
    table = TokenTable(write(tmp_path, ["a red dog on a red ball", "a dog"]), split="train")
    assert table.lengths().tolist() == [6, 4]
    assert table[0][-1] == table[1][-1]


def test_the_size_of_a_pair_is_its_tokens_and_regions(tmp_path):
    table = TokenTable(write(tmp_path, ["a red dog on a red ball", "a dog"]), split="train")
    assert table.sizes().tolist() == [[6, 10], [4, 11]]


def test_a_small_vocabulary_takes_two_bytes_a_token(tmp_path):
    assert TokenTable(write(tmp_path, CAPTIONS), split="train")[0].dtype == np.uint16


def test_tokens_are_counted_in_the_captions_of_the_split(tmp_path):
    table = TokenTable(write(tmp_path, CAPTIONS), split="train")
    expected = np.bincount(np.concatenate([table[row] for row in range(3)]), minlength=97)
    assert table.counts(97).tolist() == expected.tolist()
    assert table.counts(97).max() == 3  # of [CLS]


def test_a_split_without_pairs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no pair of the split 'val'"):
        TokenTable(write(tmp_path, CAPTIONS), split="val")


def test_no_pair_at_all_ends_the_command_with_the_reason(tmp_path):
    with pytest.raises(ValueError, match=r"holds no pair; results/<run>/dropped.parquet says why"):
        write(tmp_path, [])


def test_a_saved_tokenizer_is_taken_from_its_folder(tmp_path):
    train_tokenizer(CAPTIONS, vocab_size=97).save_pretrained(tmp_path / "own")
    table = TokenTable(write(tmp_path, ["red ball"], tokenizer=str(tmp_path / "own")), split="train")
    assert len(table[0]) == 4


KEYS = [f"train-{row:08d}" for row in range(101)]


def test_a_smaller_share_of_the_images_lies_within_a_larger_one():
    quarter, half = set(first_images(KEYS, 0.25)), set(first_images(KEYS, 0.5))
    assert (len(quarter), len(half)) == (25, 50)
    assert quarter < half < set(KEYS)


def test_which_images_are_of_a_share_depends_on_no_order_and_no_other_process():
    """By sha256 of the keys: written down, so that a run of another year has the same."""
    assert first_images(KEYS, 0.02) == first_images(KEYS[::-1], 0.02) == ["train-00000065", "train-00000069"]
    assert first_images(KEYS[:3], 0.01) == first_images(KEYS[:3], 0.4)  # at least one


def test_the_pairs_of_a_share_are_all_of_its_images(world):
    whole, half = TokenTable(world.tokens, split="train"), TokenTable(world.tokens, split="train", share=0.5)
    assert sorted(half.images()) == sorted(first_images(whole.images(), 0.5))
    assert len(half) == 16 * 3  # of 31 images, three captions each: 15.5 is 16
    assert half.num_pairs_of_split == whole.num_pairs_of_split == len(whole)
    by_key = {key: ids.tolist() for key, ids in zip(whole.keys.to_pylist(), whole, strict=True)}
    assert [by_key[key] for key in half.keys.to_pylist()] == [ids.tolist() for ids in half]
