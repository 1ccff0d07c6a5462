import math

import pytest
import torch
from small_configs import make_single_stream, make_two_stream

from vilbert.model.modeling_dual_encoder import (
    VilbertDualEncoder,
    contrastive_loss,
    distillation_loss,
    dual_encoder_of,
    pooled,
)
from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining
from vilbert.model.modeling_tasks import VilbertForImageTextRetrieval
from vilbert.model.modeling_vilbert import VilbertForPreTraining

ONE = torch.tensor(1.0)


def inputs(config, *, num=3):
    return {
        "input_ids": torch.randint(5, config.vocab_size, (num, 7)),
        "attention_mask": torch.ones(num, 7, dtype=torch.long),
        "visual_features": torch.randn(num, 5, config.visual_feature_size),
        "visual_boxes": torch.rand(num, 5, 5),
        "visual_attention_mask": torch.ones(num, 5, dtype=torch.long),
    }


@pytest.mark.parametrize("kind", [VilbertForPreTraining, VilbertForImageTextRetrieval])
def test_it_begins_with_the_layers_of_its_teacher(kind):
    teacher = kind(make_two_stream())
    student = dual_encoder_of(teacher, embedding_size=13)
    assert not student.vilbert.co_layers
    weights = teacher.vilbert.state_dict()
    for name, weight in student.vilbert.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert student.temperature.item() == pytest.approx(0.07)


def test_embeddings_are_of_length_1_and_of_one_side_alone():
    torch.manual_seed(0)
    student = dual_encoder_of(VilbertForPreTraining(make_two_stream()), embedding_size=13).eval()
    batch = inputs(student.config)
    output = student(**batch)
    assert output.text_embeddings.shape == output.image_embeddings.shape == (3, 13)
    torch.testing.assert_close(output.image_embeddings.norm(dim=-1), torch.ones(3))
    other = student(**batch | {"input_ids": batch["input_ids"].flip(0)})
    torch.testing.assert_close(other.image_embeddings, output.image_embeddings)


def test_what_is_padded_changes_nothing():
    torch.manual_seed(0)
    student = dual_encoder_of(VilbertForPreTraining(make_two_stream()), embedding_size=13).eval()
    batch = inputs(student.config)
    short = {name: value[:, :3] for name, value in batch.items()}
    padded = dict(batch)
    for name in ("attention_mask", "visual_attention_mask"):
        padded[name] = batch[name].clone()
        padded[name][:, 3:] = 0
    torch.testing.assert_close(student(**padded).text_embeddings, student(**short).text_embeddings)
    torch.testing.assert_close(student(**padded).image_embeddings, student(**short).image_embeddings)


def test_of_each_number_the_greatest_is_taken_that_is_not_padding():
    vectors = torch.tensor([[[3.0, -7], [1, -4], [9, 9]], [[-1.0, 0], [-2, -5], [-3, -6]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    torch.testing.assert_close(pooled(vectors, mask), torch.tensor([[0.6, -0.8], [-1.0, 0]]))


def test_it_is_saved_and_loaded(tmp_path):
    student = dual_encoder_of(VilbertForPreTraining(make_two_stream()), embedding_size=13, temperature=0.2).eval()
    student.save_pretrained(tmp_path)
    again = VilbertDualEncoder.from_pretrained(tmp_path)
    assert all(torch.equal(one, two) for one, two in zip(student.parameters(), again.parameters(), strict=True))
    assert again.temperature.item() == pytest.approx(0.2)


def test_captions_of_one_image_share_its_probability():
    """Two captions of one image and one of another, all products 0: each is log 3, whatever the targets."""
    nothing = torch.zeros(3, 2)
    loss = contrastive_loss(nothing, nothing, torch.tensor([4, 4, 9]), temperature=ONE)
    assert loss.item() == pytest.approx(math.log(3))
    alike = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    sharp = contrastive_loss(alike, alike, torch.tensor([4, 4, 9]), temperature=torch.tensor(0.01))
    assert sharp.item() == pytest.approx(2 / 3 * math.log(2), abs=1e-4)  # two images between which nothing decides


def test_the_divergence_is_the_mean_of_the_queries_and_not_of_the_candidates_too():
    queries, candidates = torch.zeros(2, 3), torch.zeros(2, 4, 3)
    scores = torch.log(torch.tensor([[0.5, 0.5, 1e-9, 1e-9], [0.25, 0.25, 0.25, 0.25]]))
    loss = distillation_loss(queries, candidates, scores, temperature=ONE)
    assert loss.item() == pytest.approx((math.log(2) + 0) / 2, abs=1e-5)


def test_candidates_are_rows_of_the_step():
    torch.manual_seed(0)
    student = dual_encoder_of(VilbertForPreTraining(make_two_stream()), embedding_size=13)
    candidates = torch.tensor([[0, 2], [1, 0]])
    scores = torch.tensor([[3.0, 0], [1, 1]])
    output = student(
        **inputs(student.config),
        image_ids=torch.tensor([0, 1]),
        image_candidates=candidates,
        image_scores=scores,
        text_candidates=candidates,
        text_scores=scores,
    )
    expected = sum(
        distillation_loss(ours[:2], theirs[candidates], scores, temperature=student.temperature)
        for ours, theirs in (
            (output.text_embeddings, output.image_embeddings),
            (output.image_embeddings, output.text_embeddings),
        )
    )
    torch.testing.assert_close(output.losses["distillation"], expected / 2)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_a_single_stream_and_streams_that_meet_are_refused():
    with pytest.raises(ValueError, match="has one stream, expected a ViLBERT of two"):
        dual_encoder_of(VilbertSingleStreamForPreTraining(make_single_stream()), embedding_size=13)
    with pytest.raises(ValueError, match="the streams of a dual encoder never meet"):
        VilbertDualEncoder(make_two_stream())
