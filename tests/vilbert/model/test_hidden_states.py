"""What is asked for of the layers below, of every model: hidden states, attention maps, and how they are given."""

import weakref

import pytest
import torch
from small_configs import make_two_stream

from vilbert.conversion.convert import MODELS
from vilbert.model.layers import CoAttentionLayer, SelfAttentionLayer
from vilbert.model.modeling_single_stream import VilbertSingleStreamForClassification, VilbertSingleStreamModel
from vilbert.model.modeling_tasks import SINGLE_LABEL, VilbertForClassification
from vilbert.model.modeling_vilbert import VilbertModel

KINDS = {
    **MODELS,
    "trunk": (VilbertModel, VilbertSingleStreamModel),
    "classification": (VilbertForClassification, VilbertSingleStreamForClassification),
}
# layers of the stream, and the two of co-attention
NUM_LAYERS = {"vilbert": (4 + 2, 2 + 2), "vilbert_single_stream": (2, 2)}
WIDTHS = {"vilbert": (12, 10), "vilbert_single_stream": (12, 12)}


def model_of(kind: str, config) -> torch.nn.Module:
    torch.manual_seed(0)
    config.problem_type = SINGLE_LABEL
    return KINDS[kind][config.model_type != "vilbert"](config).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_the_embeddings_and_what_each_layer_gives(any_config, batch, kind):
    model = model_of(kind, any_config)
    output = model(**batch, output_hidden_states=True)
    (text_layers, visual_layers), (text_width, visual_width) = (
        of[any_config.model_type] for of in (NUM_LAYERS, WIDTHS)
    )
    assert [one.shape for one in output.text_hidden_states] == [(3, 13, text_width)] * (text_layers + 1)
    assert [one.shape for one in output.visual_hidden_states] == [(3, 11, visual_width)] * (visual_layers + 1)
    trunk = model.base_model
    last = trunk(**batch)
    assert torch.equal(output.text_hidden_states[-1], last.text_states)
    assert torch.equal(output.visual_hidden_states[-1], last.visual_states)
    embedded = trunk.visual_embeddings(batch["visual_features"], batch["visual_boxes"])
    torch.testing.assert_close(output.visual_hidden_states[0], embedded)


def test_each_hidden_state_is_read_by_the_next_layer(batch):
    """By hooks: the text's third state is what the first co-attention layer is given, and the fourth what it gives."""
    model, read, given = VilbertModel(make_two_stream()).eval(), [], []
    model.co_layers[0].register_forward_pre_hook(lambda _, inputs: read.extend(inputs))
    model.co_layers[0].register_forward_hook(lambda _, inputs, outputs: given.extend(outputs))
    output = model(**batch, output_hidden_states=True)
    assert torch.equal(output.text_hidden_states[2], read[0])
    assert torch.equal(output.visual_hidden_states[0], read[1])
    assert torch.equal(output.text_hidden_states[3], given[0])
    assert torch.equal(output.visual_hidden_states[1], given[1])


def test_a_loss_has_a_gradient_for_every_hidden_state(batch):
    output = model_of("vqa", make_two_stream())(**batch, output_hidden_states=True, labels=torch.zeros(3, 31))
    states = [*output.text_hidden_states, *output.visual_hidden_states]
    assert all(one.any() for one in torch.autograd.grad(output.loss, states))


def test_hidden_states_teach_the_layers_below_and_none_above(any_config, batch):
    model = model_of("trunk", any_config)
    output = model(**batch, output_hidden_states=True)
    output.text_hidden_states[1].square().sum().backward()
    layers = model.layers if any_config.model_type == "vilbert_single_stream" else model.text_layers
    assert all(parameter.grad is not None for parameter in layers[0].parameters())
    assert all(parameter.grad is None for parameter in layers[1].parameters())


def test_one_text_has_a_hidden_state_for_each_image(any_config, batch):
    one = batch | {name: batch[name][:1] for name in ("input_ids", "token_type_ids", "attention_mask")}
    output = model_of("trunk", any_config)(**one, output_hidden_states=True)
    assert {len(states) for states in output.text_hidden_states} == {3}


def test_competing_pairs_have_a_hidden_state_each(any_config, batch):
    four = batch | {
        name: batch[name][:, None].repeat(1, 4, 1) for name in ("input_ids", "token_type_ids", "attention_mask")
    }
    output = model_of("vcr", any_config)(**four, output_hidden_states=True)
    assert output.logits.shape == (3, 4)
    assert output.text_hidden_states[0].shape == (12, 13, 12)


@torch.no_grad()
def test_what_nobody_asked_for_is_not_kept(any_config, batch):
    """Without gradients, each layer's output is gone when the next layer has run."""
    model, alive = model_of("trunk", any_config), []
    outputs: list[weakref.ref] = []

    def count(_, __, given):
        alive.append(sum(one() is not None for one in outputs))
        outputs.extend(weakref.ref(one) for one in (given if isinstance(given, tuple) else (given,)))

    for module in model.modules():
        if isinstance(module, SelfAttentionLayer | CoAttentionLayer):
            module.register_forward_hook(count)
    output = model(**batch)
    assert output.text_hidden_states is output.visual_hidden_states is output.attentions is None
    assert max(alive) <= 2  # that of each stream
    alive.clear()
    kept = model(**batch, output_hidden_states=True)
    assert kept.text_hidden_states
    assert max(alive) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_return_dict_the_same_comes_as_a_tuple(any_config, batch, kind):
    model = model_of(kind, any_config)
    named, plain = (
        model(**batch, output_hidden_states=True),
        model(**batch, output_hidden_states=True, return_dict=False),
    )
    assert type(plain) is tuple
    torch.testing.assert_close(plain, named.to_tuple())
    model.config.return_dict = False
    torch.testing.assert_close(model(**batch)[0], plain[0])
    assert model(**batch, return_dict=True).keys() >= {"logits"} or kind in ("trunk", "pretraining")


def test_the_configuration_asks_where_a_call_says_nothing(any_config, batch, tmp_path):
    model_of("retrieval", any_config).save_pretrained(tmp_path)
    kind = KINDS["retrieval"][any_config.model_type != "vilbert"]
    asking = kind.from_pretrained(
        tmp_path, output_hidden_states=True, output_attentions=True, attn_implementation="eager"
    )
    output = asking(**batch)
    assert output.text_hidden_states
    assert output.attentions.text
    quiet = asking(**batch, output_hidden_states=False, output_attentions=False)
    assert quiet.keys() == {"logits"}
