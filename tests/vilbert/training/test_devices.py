from copy import deepcopy

import pytest
import torch
from pretraining_world import CLASSES, make_dataset, model_settings, runtime_settings
from transformers import AutoTokenizer

from vilbert.batches.sampling import Draw
from vilbert.pretraining.building import build_pretraining_model
from vilbert.training.devices import compile_layers, compiles, has_graphs, uncompiled


@pytest.fixture(scope="module")
def model(world):
    tokenizer = AutoTokenizer.from_pretrained(world.tokenizer)
    torch.manual_seed(2)
    return build_pretraining_model(model_settings(dropout=0), tokenizer, num_classes=len(CLASSES)).train()


@pytest.fixture(scope="module")
def batch(world):
    return make_dataset(world).__getitems__([Draw(0, example) for example in range(7)])


def losses_and_gradients(model, batch):
    output = model(**batch)
    output.loss.backward()
    return output.losses | {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own look at it
@pytest.mark.slow
def test_a_step_of_compiled_layers_has_the_same_losses_and_gradients(model, batch):
    compiled, graphs = deepcopy(model), []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    compile_layers(compiled, backend=count)
    assert compiled.state_dict().keys() == model.state_dict().keys()
    expected = losses_and_gradients(deepcopy(model), batch)
    torch.testing.assert_close(losses_and_gradients(compiled, batch), expected)
    assert len(graphs) == 3  # two text layers share one; a visual and a co-attention layer
    with uncompiled():
        torch.testing.assert_close(compiled(**batch).losses, model(**batch).losses)
    assert len(graphs) == 3


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own look at it
@pytest.mark.slow
def test_a_step_reads_nothing_back(model, batch):
    """A single graph: a value that Python had to know would cut it."""
    whole = deepcopy(model)
    whole.compile(fullgraph=True, dynamic=False, backend="eager")
    torch.testing.assert_close(losses_and_gradients(whole, batch), losses_and_gradients(deepcopy(model), batch))


def test_layers_are_compiled_where_there_is_a_gpu_unless_the_setting_says_otherwise():
    assert compiles(runtime_settings(compile="auto")) is torch.cuda.is_available()
    assert compiles(runtime_settings(compile=True))
    assert compiles(runtime_settings(compile="graphs"))
    assert not compiles(runtime_settings(compile=False))


def test_launches_are_recorded_only_where_that_is_asked_for():
    assert has_graphs(runtime_settings(compile="graphs"))
    assert not any(has_graphs(runtime_settings(compile=value)) for value in (True, False, "auto"))


@pytest.mark.parametrize("other", ["fsdp", "gradient_checkpointing"])
def test_launches_are_not_recorded_where_they_would_not_stay_the_same(other):
    with pytest.raises(ValueError, match=f"cannot be together with runtime.{other}; set it to auto"):
        has_graphs(runtime_settings(compile="graphs", **{other: True}))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own look at it
@pytest.mark.slow
def test_the_compiler_is_told_to_record_launches(model, batch):
    compiled, modes = deepcopy(model), []

    def keep_mode(graph, inputs, *, mode=None):
        modes.append(mode)
        return graph

    compile_layers(compiled, backend=keep_mode, has_graphs=True)
    torch.testing.assert_close(losses_and_gradients(compiled, batch), losses_and_gradients(deepcopy(model), batch))
    assert modes == ["reduce-overhead"] * 3


def test_few_widths_change_no_loss(world, model):
    exact, few = make_dataset(world), make_dataset(world, has_few_widths=True)
    are_wider = []
    for example in range(0, 31, 5):
        draws = [Draw(0, example), Draw(0, example + 1)]
        batch, wider = exact.__getitems__(draws), few.__getitems__(draws)
        torch.testing.assert_close(model(**wider).losses, model(**batch).losses)
        are_wider.append(wider["input_ids"].shape[1] > batch["input_ids"].shape[1])
    assert any(are_wider)
