import pytest
import torch
from transformers import AutoModelForPreTraining

from vilbert.model.configuration_vilbert import VilbertConfig
from vilbert.model.modeling_vilbert import VilbertForPreTraining


@pytest.fixture
def small_model(two_stream_config) -> VilbertForPreTraining:
    torch.manual_seed(0)
    return VilbertForPreTraining(two_stream_config()).eval()


def test_the_base_model_has_the_originals_parameters_without_the_dead_ones():
    """250,044,029 of vilbert_beta less 11,020,800 that are never used."""
    with torch.device("meta"):
        model = VilbertForPreTraining(VilbertConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 239_023_229


def test_a_saved_model_gives_the_same_logits(small_model, batch, tmp_path):
    small_model.save_pretrained(tmp_path)
    again = AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    expected, given = small_model(**batch), again(**batch)
    for name in ("token_logits", "region_logits", "alignment_logits"):
        torch.testing.assert_close(given[name], expected[name], rtol=0, atol=0)


def test_a_longer_vocabulary_keeps_the_decoder_tied(small_model, batch, tmp_path):
    small_model.resize_token_embeddings(61, mean_resizing=False)
    small_model.save_pretrained(tmp_path)
    for model in (small_model, AutoModelForPreTraining.from_pretrained(tmp_path)):
        assert model.config.vocab_size == 61
        assert model.token_head.decoder.weight is model.get_input_embeddings().weight
        assert model(**batch).token_logits.shape == (3, 13, 61)


def test_attention_maps_change_no_output(small_model, batch):
    fast, slow = small_model(**batch), small_model(**batch, output_attentions=True)
    torch.testing.assert_close(slow.token_logits, fast.token_logits, rtol=0, atol=1e-5)
    assert slow.attentions is not None
    assert fast.attentions is None


@pytest.mark.parametrize(("name", "start"), [("input_ids", 9), ("visual_features", 5)])
def test_what_is_masked_out_changes_nothing(small_model, batch, name, start):
    expected = small_model(**batch).alignment_logits
    batch[name][1 if name == "input_ids" else 2, start:] = 7
    torch.testing.assert_close(small_model(**batch).alignment_logits, expected)


def test_logits_cover_every_position_without_labels(small_model, batch):
    output = small_model(**batch)
    assert output.token_logits.shape == (3, 13, 53)
    assert output.region_logits.shape == (3, 11, 7)
    assert output.alignment_logits.shape == (3, 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"labels": torch.zeros(3, 11, dtype=torch.long)}, r"labels has the shape \[3, 11\], expected .*\[3, 13\]"),
        ({"region_targets": torch.zeros(0, 7)}, "belong together, only one was given"),
        (
            {"region_targets": torch.zeros(0, 7), "region_target_mask": torch.zeros(3, 10)},
            r"region_target_mask has the shape \[3, 10\], expected \[B, R\], \[3, 11\]",
        ),
        (
            {"region_targets": torch.zeros(32, 7), "region_target_mask": torch.ones(3, 11)},
            r"region_targets has the shape \[32, 7\], expected \[N, C\], N masked regions, \[33, 7\]",
        ),
        ({"alignment_labels": torch.zeros(2, dtype=torch.long)}, r"alignment_labels has the shape \[2\]"),
    ],
)
def test_labels_that_do_not_fit_are_named(small_model, batch, labels, message):
    with pytest.raises(ValueError, match=message):
        small_model(**batch, **labels)


def test_a_batch_without_a_masked_token_or_region_learns_alignment_alone(small_model, batch):
    output = small_model(
        **batch,
        labels=torch.full((3, 13), -100),
        region_targets=torch.zeros(0, 7),
        region_target_mask=torch.zeros(3, 11, dtype=torch.bool),
        alignment_labels=torch.tensor([1, 0, 1]),
    )
    output.loss.backward()
    assert output.losses["masked_token"] == output.losses["masked_region"] == 0
    assert output.loss == output.losses["alignment"]
    assert all(parameter.grad.isfinite().all() for parameter in small_model.parameters())


def make_masked_labels() -> dict[str, torch.Tensor]:
    """Of the batch of 3 texts of 13 tokens and 3 images of 11 regions."""
    labels = torch.full((3, 13), -100)
    labels[0, 5], labels[2, 1], labels[2, 12] = 7, 11, 3
    mask = torch.zeros(3, 11, dtype=torch.bool)
    mask[1, 2] = mask[1, 10] = True
    return {
        "labels": labels,
        "region_targets": torch.rand(2, 7).softmax(-1),
        "region_target_mask": mask,
        "alignment_labels": torch.tensor([1, 0, 1]),
    }


POSITIONS = {"label_positions": torch.tensor([5, 27, 38]), "region_target_positions": torch.tensor([13, 21])}


def test_positions_that_are_given_are_those_that_would_be_looked_up(small_model, batch):
    model, labels = small_model.eval(), make_masked_labels()
    looked_up, given = model(**batch, **labels), model(**batch, **labels, **POSITIONS)
    assert torch.equal(looked_up.token_logits, given.token_logits)
    assert torch.equal(looked_up.region_logits, given.region_logits)
    assert torch.equal(looked_up.loss, given.loss)


def test_with_positions_given_nothing_in_a_step_is_read_back(small_model, batch):
    """`fullgraph=True` refuses to compile what looks at a value of a tensor."""
    model, labels = small_model.eval(), make_masked_labels()
    expected = model(**batch, **labels).loss
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(**batch, **labels, **POSITIONS).loss, expected)
