import numpy as np
import pytest
from pretraining_world import CLASSES, COLOURS, make_dataset
from transformers import AutoTokenizer

from vilbert.batches.masking import IGNORED
from vilbert.batches.sampling import Draw
from vilbert.pretraining.data import unmasked
from vilbert.pretraining.mismatches import ContrastWords

GROUPS = (COLOURS, CLASSES[1:])


@pytest.fixture(scope="module")
def tokenizer(world):
    return AutoTokenizer.from_pretrained(world.tokenizer)


def changes(caption: str, tokenizer, count: int = 300) -> list[list[str]]:
    """Words of a caption that was changed `count` times."""
    ids = np.array(tokenizer(caption)["input_ids"])
    contrasts, generator = ContrastWords(GROUPS, tokenizer), np.random.default_rng(2)
    return [tokenizer.convert_ids_to_tokens(contrasts.change(ids, generator)[1:-1]) for _ in range(count)]


def test_a_word_gives_way_to_another_of_its_group(tokenizer):
    found = changes("a red circle there", tokenizer)
    assert {words[1] for words in found} == set(COLOURS)
    assert {words[2] for words in found} == set(CLASSES[1:])
    assert all((words[1] == "red") != (words[2] == "circle") for words in found)
    assert all((words[0], words[3]) == ("a", "there") for words in found)


def test_each_group_is_changed_as_often_however_many_words_it_has_in_the_caption(tokenizer):
    found = changes("a red blue green black circle", tokenizer, count=600)
    assert np.mean([words[5] != "circle" for words in found]) == pytest.approx(0.5, abs=0.07)


def test_two_words_of_a_group_change_places_half_of_the_time(tokenizer):
    found = changes("a red circle and a blue circle", tokenizer, count=900)
    of_colours = [words for words in found if words[2] == words[6] == "circle"]
    assert np.mean([(words[1], words[5]) == ("blue", "red") for words in of_colours]) == pytest.approx(0.56, abs=0.07)


def test_a_caption_without_such_a_word_has_no_contrast(tokenizer):
    ids = np.array(tokenizer("a and there")["input_ids"])
    assert ContrastWords(GROUPS, tokenizer).change(ids, np.random.default_rng(0)) is None


@pytest.mark.parametrize("groups", [[["red", "blue", "red"]], [["red", "blue"], ["black", "red"]]])
def test_a_word_that_stands_twice_is_refused(tokenizer, groups):
    with pytest.raises(ValueError, match=r"has a word of .*red twice"):
        ContrastWords(groups, tokenizer)


def test_words_that_the_tokenizer_does_not_know_are_left_out(tokenizer):
    contrasts = ContrastWords([["red", "mauve", "blue"], ["circle", "dodecagon"]], tokenizer)
    ids = np.array(tokenizer("a red circle")["input_ids"])
    found = {tuple(tokenizer.convert_ids_to_tokens(contrasts.change(ids, np.random.default_rng(n)))) for n in range(20)}
    assert found == {("[CLS]", "a", "blue", "circle", "[SEP]")}


def test_a_changed_caption_is_the_images_own_but_for_a_word_or_two(world):
    late = {"from_epoch": 1, "mismatch_probability": 0.5, "contrast_words": [COLOURS], "changed_share": 1}
    dataset = make_dataset(world, late=late, token_mask_probability=0)
    for epoch, is_own in ((0, False), (1, True)):
        examples = [(number, dataset.example(Draw(epoch, number))) for number in range(93)]
        mismatched = [(dataset.tokens[number], one.text.input_ids) for number, one in examples if not one.is_aligned]
        assert len(mismatched) > 20
        differences = [(own != ids).sum() if len(own) == len(ids) else 9 for own, ids in mismatched]
        assert (max(differences) <= 2) == is_own
        assert min(differences) > 0


def test_an_unmasked_pair_has_the_words_that_were_masked(world):
    dataset = make_dataset(world, mismatch_probability=0)
    example = dataset.example(Draw(0, 17))
    assert (example.text.labels != IGNORED).any()
    whole = unmasked(example)
    assert whole.text.input_ids.tolist() == dataset.tokens[17].tolist()
    assert (whole.text.labels == IGNORED).all()
    assert not (whole.mask.is_masked | whole.mask.is_hidden).any()
