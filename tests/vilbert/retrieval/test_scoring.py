import pytest
import torch
from small_configs import make_single_stream, make_two_stream

from vilbert.model.modeling_single_stream import (
    VilbertSingleStreamForImageTextRetrieval,
    VilbertSingleStreamForPreTraining,
)
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.retrieval.scoring import EncodedImage, of_one_length, score_pairs

CONFIGS = {
    "as_published": make_two_stream(),
    "sum": make_two_stream(fusion="sum"),
    "plain_layers_everywhere": make_two_stream(
        text_num_layers=7, text_co_layers=(1, 4), visual_num_layers=5, visual_co_layers=(2, 3)
    ),
    "nothing_after_the_last_co_attention": make_two_stream(text_co_layers=(2, 4), visual_co_layers=(1, 2)),
    "one_co_attention": make_two_stream(text_co_layers=(3,), visual_co_layers=(0,)),
    "no_co_attention": make_two_stream(text_co_layers=(), visual_co_layers=()),
    "single_stream": make_single_stream(),
}


def make_model(name: str, *, is_pretraining: bool) -> torch.nn.Module:
    torch.manual_seed(3)
    config = CONFIGS[name]
    config.initializer_range = 0.3
    two = VilbertForPreTraining if is_pretraining else VilbertForImageTextRetrieval
    single = VilbertSingleStreamForPreTraining if is_pretraining else VilbertSingleStreamForImageTextRetrieval
    return (single if name == "single_stream" else two)(config).eval()


def make_pairs(num_captions: int, num_images: int) -> tuple[list[torch.Tensor], list[EncodedImage]]:
    """Of 3 to 13 tokens and 2 to 11 regions."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(3, 14, (num_captions,), generator=generator).tolist()
    counts = torch.randint(2, 12, (num_images,), generator=generator).tolist()
    captions = [torch.randint(5, 53, (length,), generator=generator) for length in lengths]
    images = [
        EncodedImage(torch.rand(count, 17, generator=generator), torch.rand(count, 5, generator=generator))
        for count in counts
    ]
    return captions, images


def pair_by_pair(model: torch.nn.Module, captions: list[torch.Tensor], images: list[EncodedImage]) -> torch.Tensor:
    rows = []
    with torch.no_grad():
        for ids in captions:
            outputs = [model(ids[None], image.features[None], image.boxes[None]) for image in images]
            is_pretraining = hasattr(outputs[0], "alignment_logits")
            rows.append(
                [float(one.alignment_logits.diff(dim=-1)) if is_pretraining else float(one.logits) for one in outputs]
            )
    return torch.tensor(rows)


@pytest.mark.parametrize("is_pretraining", [True, False], ids=["zero_shot", "score_head"])
@pytest.mark.parametrize("name", CONFIGS)
def test_scores_are_those_of_one_pair_at_a_time(name, is_pretraining):
    model, (captions, images) = make_model(name, is_pretraining=is_pretraining), make_pairs(19, 41)
    scores, expected = score_pairs(model, captions, images), pair_by_pair(model, captions, images)
    assert expected.std() > 0.01
    torch.testing.assert_close(scores, expected, atol=2e-5, rtol=1e-5)


def test_one_caption_and_one_image():
    model, (captions, images) = make_model("as_published", is_pretraining=False), make_pairs(1, 1)
    assert score_pairs(model, captions, images).shape == (1, 1)


def test_half_precision_weights_are_scored_in_full():
    model, (captions, images) = make_model("as_published", is_pretraining=False).bfloat16(), make_pairs(5, 7)
    assert score_pairs(model, captions, images).dtype == torch.float32


@pytest.mark.parametrize("name", ["as_published", "single_stream"])
def test_scores_under_autocast_are_nearly_the_same_and_in_full(name):
    model, (captions, images) = make_model(name, is_pretraining=False), make_pairs(5, 7)
    images = [EncodedImage(image.features.half(), image.boxes) for image in images]  # as stores have them
    expected = score_pairs(model, captions, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = score_pairs(model, captions, images)
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, expected)
    torch.testing.assert_close(scores, expected, atol=0.1 * float(expected.std()), rtol=0)


def test_too_little_memory_says_what_fills_it():
    model, (captions, images) = make_model("as_published", is_pretraining=False), make_pairs(2, 3)

    def run_out(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    model.base_model.text_layers[-1].feed_forward.register_forward_hook(run_out)
    with pytest.raises(ValueError, match="the GPU's memory is too small: 3 images are kept on it"):
        score_pairs(model, captions, images)


def test_a_model_that_is_training_is_refused():
    model, (captions, images) = make_model("as_published", is_pretraining=False).train(), make_pairs(2, 3)
    with pytest.raises(ValueError, match="training mode"):
        score_pairs(model, captions, images)


def test_parts_are_of_one_length_and_hold_each_index_once():
    parts = list(of_one_length([7, 3, 7, 7, 3, 7], 3))
    assert parts == [[0, 2, 3], [5], [1, 4]]
