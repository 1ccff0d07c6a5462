import pytest
import torch
from transformers import AutoModel, AutoModelForPreTraining

from vilbert.model.configuration_vilbert import VilbertSingleStreamConfig
from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining, VilbertSingleStreamModel
from vilbert.model.modeling_vilbert import VilbertForPreTraining


def test_both_architectures_give_the_same_fields_and_shapes(any_config, batch):
    is_single = isinstance(any_config, VilbertSingleStreamConfig)
    output = (VilbertSingleStreamForPreTraining if is_single else VilbertForPreTraining)(any_config).eval()(**batch)
    assert output.token_logits.shape == (3, 13, 53)
    assert output.region_logits.shape == (3, 11, 7)
    assert output.alignment_logits.shape == (3, 2)
    assert output.text_states.shape == (3, 13, 12)
    assert output.visual_states.shape[:2] == (3, 11)
    assert output.pooled_text.shape == output.pooled_visual.shape
    assert output.loss is None


def test_new_weights_are_normal_and_biases_zero(any_config):
    """The padding token's row is drawn as well, as in the original."""
    any_config.initializer_range = 0.3
    is_single = isinstance(any_config, VilbertSingleStreamConfig)
    torch.manual_seed(0)
    model = (VilbertSingleStreamForPreTraining if is_single else VilbertForPreTraining)(any_config)
    drawn = []
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif ".norm." in name:
            assert (parameter == 1).all(), name
        else:
            drawn.append(parameter.detach().flatten())
    assert torch.cat(drawn).std().item() == pytest.approx(0.3, rel=0.03)
    assert all(values.std() > 0.1 for values in drawn)
    assert (model.get_input_embeddings().weight[0] != 0).all()


def test_every_parameter_learns_in_either_architecture(any_config, batch):
    is_single = isinstance(any_config, VilbertSingleStreamConfig)
    model = (VilbertSingleStreamForPreTraining if is_single else VilbertForPreTraining)(any_config)
    labels = torch.full((3, 13), -100)
    labels[0, 4] = 17
    mask = torch.zeros(3, 11, dtype=torch.bool)
    mask[1, 2] = True
    targets = torch.rand(1, 7).softmax(-1)
    aligned = torch.tensor([1, 0, 1])
    output = model(**batch, labels=labels, region_targets=targets, region_target_mask=mask, alignment_labels=aligned)
    assert list(output.losses) == ["masked_token", "masked_region", "alignment"]
    assert output.token_logits.shape == (1, 53)
    assert output.region_logits.shape == (1, 7)
    output.loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_the_quarters_of_a_map_are_one_attention(single_stream_config, batch):
    maps = VilbertSingleStreamModel(single_stream_config()).eval()(**batch, output_attentions=True).attentions
    assert maps.text_to_visual[1].shape == (3, 3, 13, 11)
    assert maps.visual_to_text[1].shape == (3, 3, 11, 13)
    ones = maps.text[1].sum(-1) + maps.text_to_visual[1].sum(-1)
    torch.testing.assert_close(ones, torch.ones(3, 3, 13))


@pytest.mark.parametrize("output_attentions", [False, True])
def test_gradient_checkpointing_changes_no_gradient(any_config, batch, output_attentions):
    """That of the maps neither, which the layers leave behind and do not return."""
    is_single = isinstance(any_config, VilbertSingleStreamConfig)
    any_config.dropout = 0.0
    model = (VilbertSingleStreamForPreTraining if is_single else VilbertForPreTraining)(any_config).train()
    gradients = []
    for is_on in (False, True):
        if is_on:
            newer = getattr(model, "activation_checkpointing_enable", None)  # its name in newer transformers
            (newer or model.gradient_checkpointing_enable)()
        model.zero_grad()
        output = model(**batch, alignment_labels=torch.tensor([0, 1, 1]), output_attentions=output_attentions)
        maps = [one for kind in output.attentions or () for one in kind]
        (output.loss + sum(one.pow(2).sum() for one in maps)).backward()
        gradients.append(model.get_input_embeddings().weight.grad.clone())
    torch.testing.assert_close(*gradients)
    assert sum(getattr(module, "gradient_checkpointing", False) for module in model.modules()) > 1


@pytest.mark.parametrize("output_attentions", [False, True])
def test_the_forward_pass_is_one_graph(any_config, batch, output_attentions):
    is_single = isinstance(any_config, VilbertSingleStreamConfig)
    model = (VilbertSingleStreamForPreTraining if is_single else VilbertForPreTraining)(any_config).eval()
    expected = model(**batch, output_attentions=output_attentions)
    compiled = torch.compile(model, fullgraph=True, backend="eager")(**batch, output_attentions=output_attentions)
    torch.testing.assert_close(compiled.alignment_logits, expected.alignment_logits)
    torch.testing.assert_close(compiled.attentions, expected.attentions)


def test_auto_classes_find_either_architecture(any_config, tmp_path):
    is_single = isinstance(any_config, VilbertSingleStreamConfig)
    model_class = VilbertSingleStreamForPreTraining if is_single else VilbertForPreTraining
    model_class(any_config).save_pretrained(tmp_path)
    assert type(AutoModelForPreTraining.from_pretrained(tmp_path)) is model_class
    assert type(AutoModel.from_pretrained(tmp_path)).__name__ == f"Vilbert{'SingleStream' * is_single}Model"
