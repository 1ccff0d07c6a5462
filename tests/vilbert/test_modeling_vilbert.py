import pytest
import torch
from transformers import AutoModelForPreTraining

from vilbert.configuration_vilbert import VilbertConfig
from vilbert.modeling_vilbert import VilbertForPreTraining

SMALL = {
    "vocab_size": 53,
    "text_hidden_size": 12,
    "text_num_layers": 4,
    "text_num_heads": 3,
    "text_intermediate_size": 19,
    "visual_feature_size": 17,
    "visual_hidden_size": 10,
    "visual_num_layers": 2,
    "visual_num_heads": 5,
    "visual_intermediate_size": 11,
    "visual_num_classes": 7,
    "co_hidden_size": 8,
    "co_num_heads": 2,
    "text_co_layers": (2, 3),
    "visual_co_layers": (0, 1),
}


def small_model() -> VilbertForPreTraining:
    torch.manual_seed(0)
    return VilbertForPreTraining(VilbertConfig(**SMALL)).eval()


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    attention_mask = torch.ones(3, 13, dtype=torch.long)
    attention_mask[1, 9:] = 0
    visual_attention_mask = torch.ones(3, 11, dtype=torch.long)
    visual_attention_mask[2, 5:] = 0
    return {
        "input_ids": torch.randint(5, 53, (3, 13), generator=generator),
        "token_type_ids": torch.zeros(3, 13, dtype=torch.long),
        "attention_mask": attention_mask,
        "visual_features": torch.rand(3, 11, 17, generator=generator),
        "visual_boxes": torch.rand(3, 11, 5, generator=generator),
        "visual_attention_mask": visual_attention_mask,
    }


def test_the_base_model_has_the_originals_parameters_without_the_dead_ones():
    """250,044,029 of vilbert_beta less 11,020,800 that are never used."""
    with torch.device("meta"):
        model = VilbertForPreTraining(VilbertConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 239_023_229


def test_a_saved_model_gives_the_same_logits(tmp_path):
    model = small_model()
    model.save_pretrained(tmp_path)
    again = AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    for name in ("token_logits", "region_logits", "alignment_logits"):
        torch.testing.assert_close(getattr(again(**inputs()), name), getattr(model(**inputs()), name), rtol=0, atol=0)


def test_attention_maps_change_no_output():
    model = small_model()
    fast, slow = model(**inputs()), model(**inputs(), output_attentions=True)
    torch.testing.assert_close(slow.token_logits, fast.token_logits, rtol=0, atol=1e-5)
    assert slow.attentions is not None
    assert fast.attentions is None


@pytest.mark.parametrize(("name", "start"), [("input_ids", 9), ("visual_features", 5)])
def test_what_is_masked_out_changes_nothing(name, start):
    model, changed = small_model(), inputs()
    row = 1 if name == "input_ids" else 2
    changed[name][row, start:] = 7
    torch.testing.assert_close(model(**changed).alignment_logits, model(**inputs()).alignment_logits)


def test_logits_cover_every_position_without_labels():
    output = small_model()(**inputs())
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
def test_labels_that_do_not_fit_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        small_model()(**inputs(), **labels)


def test_a_batch_without_a_masked_token_or_region_learns_alignment_alone():
    model = small_model()
    output = model(
        **inputs(),
        labels=torch.full((3, 13), -100),
        region_targets=torch.zeros(0, 7),
        region_target_mask=torch.zeros(3, 11, dtype=torch.bool),
        alignment_labels=torch.tensor([1, 0, 1]),
    )
    output.loss.backward()
    assert output.losses["masked_token"] == output.losses["masked_region"] == 0
    assert output.loss == output.losses["alignment"]
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
