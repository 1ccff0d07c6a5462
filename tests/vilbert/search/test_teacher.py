import numpy as np
import pytest
import torch
from transformers import AutoModelForPreTraining

from vilbert.model.directory import read_processor
from vilbert.retrieval.scoring import EncodedImage, score_pairs
from vilbert.search.captions import read_captions
from vilbert.search.teacher import Teacher


@pytest.fixture
def asked(search_world):
    model, processor = (
        AutoModelForPreTraining.from_pretrained(search_world.teacher),
        read_processor(search_world.teacher),
    )
    captions = read_captions(search_world.pairs, split="val", tokenizer=processor.tokenizer, max_tokens=29)
    return model.eval(), processor, captions


def test_its_scores_are_those_of_every_pair(search_world, asked, tmp_path):
    model, processor, captions = asked
    teacher = Teacher(model, processor, search_world.store, kept_in=tmp_path / "scores.lmdb")
    images = [
        EncodedImage.of(search_world.store[key], has_whole_image=processor.has_whole_image)
        for key in captions.image_keys[:5]
    ]
    expected = score_pairs(model, [torch.from_numpy(one.ids) for one in captions.tokens[:3]], images).numpy()
    of_images = teacher.scores([captions.tokens[1]], captions.image_keys[:5])
    of_texts = teacher.scores(captions.tokens[:3], [captions.image_keys[4]])
    np.testing.assert_allclose(of_images, expected[1], atol=1e-5)
    np.testing.assert_allclose(of_texts, expected[:, 4], atol=1e-5)


def test_a_pair_is_asked_about_once(search_world, asked, tmp_path):
    model, processor, captions = asked
    teacher = Teacher(model, processor, search_world.store, kept_in=tmp_path / "scores.lmdb")
    first = teacher.scores([captions.tokens[0]], captions.image_keys[:4])
    both = teacher.scores([captions.tokens[0]], captions.image_keys[2:7])
    assert teacher.num_asked == 7
    np.testing.assert_array_equal(both[:2], first[2:])
    del teacher
    again = Teacher(model, processor, search_world.store, kept_in=tmp_path / "scores.lmdb")
    np.testing.assert_array_equal(again.scores([captions.tokens[0]], captions.image_keys[:4]), first)
    assert again.num_asked == 0


@pytest.mark.parametrize("damage", [lambda whole: whole[:30_000], lambda whole: b"no lmdb" * 9_000])
def test_scores_that_are_damaged_end_in_what_to_do(search_world, asked, tmp_path, damage):
    model, processor, captions = asked
    kept = tmp_path / "scores.lmdb"
    teacher = Teacher(model, processor, search_world.store, kept_in=kept)
    for text in captions.tokens:
        teacher.scores([text], captions.image_keys)
    del teacher
    kept.write_bytes(damage(kept.read_bytes()))
    with pytest.raises(ValueError, match=r"remove it \(`rm .*scores\.lmdb`\), and the teacher is asked anew"):
        Teacher(model, processor, search_world.store, kept_in=kept)
