import copy
import pickle

import pytest
import torch
from transformers import AutoConfig

from vilbert.model.configuration_vilbert import VilbertConfig, VilbertSingleStreamConfig
from vilbert.model.modeling_single_stream import VilbertSingleStreamModel
from vilbert.model.modeling_vilbert import VilbertModel

LARGE = {
    "text_hidden_size": 1024,
    "text_num_layers": 24,
    "text_num_heads": 16,
    "text_intermediate_size": 4096,
    "text_co_layers": tuple(range(18, 24)),
}


@pytest.mark.parametrize(
    ("sizes", "published", "dead"),
    [
        ({"visual_num_layers": 2, "text_co_layers": (10, 11), "visual_co_layers": (0, 1)}, 157_465_600, 3_673_600),
        (
            {"visual_num_layers": 4, "text_co_layers": range(8, 12), "visual_co_layers": range(4)},
            202_096_128,
            7_347_200,
        ),
        ({}, 246_726_656, 11_020_800),
        (
            {"visual_num_layers": 8, "text_co_layers": range(4, 12), "visual_co_layers": range(8)},
            291_357_184,
            14_694_400,
        ),
        (LARGE, 502_090_752, 12_595_200),
    ],
    ids=["2", "4", "6", "8", "large"],
)
def test_every_published_depth_has_the_originals_parameters_without_the_dead_ones(sizes, published, dead):
    layers = {name: tuple(value) if isinstance(value, range) else value for name, value in sizes.items()}
    with torch.device("meta"):
        model = VilbertModel(VilbertConfig(**layers))
    assert model.num_parameters() == published - dead


def test_the_single_stream_has_the_originals_parameters_without_the_segment_that_no_region_has():
    with torch.device("meta"):
        model = VilbertSingleStreamModel(VilbertSingleStreamConfig())
    assert model.num_parameters() == 111_063_552 - 768


def test_a_saved_configuration_is_the_same(two_stream_config, tmp_path):
    config = two_stream_config(fusion="sum", num_task_tokens=3, visual_target="features")
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, VilbertConfig)
    assert again.to_diff_dict() == config.to_diff_dict()
    assert again.text_co_layers == (2, 3)


def test_another_model_s_configuration_is_refused(two_stream_config, single_stream_config, tmp_path):
    """Transformers warns here, and goes on with new weights."""
    two_stream_config().save_pretrained(tmp_path / "two")
    single_stream_config().save_pretrained(tmp_path / "single")
    with pytest.raises(ValueError, match="is of a 'vilbert' model, expected 'vilbert_single_stream'"):
        VilbertSingleStreamConfig.from_pretrained(tmp_path / "two")
    with pytest.raises(ValueError, match="is of a 'vilbert_single_stream' model, expected 'vilbert'"):
        VilbertConfig.from_pretrained(tmp_path / "single")


def test_copies_of_a_configuration_are_equal(any_config):
    copies = [copy.deepcopy(any_config), pickle.loads(pickle.dumps(any_config))]
    assert all(one.to_dict() == any_config.to_dict() for one in copies)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fusion": "cat"}, "fusion is 'cat', expected one of mul, sum"),
        ({"visual_target": "mse"}, "visual_target is 'mse', expected one of classes"),
        ({"answer_head": "tanh"}, "answer_head is 'tanh'"),
        ({"text_num_heads": 5}, "text_num_heads is 5, expected a divisor of text_hidden_size, 12"),
        ({"co_num_heads": 3}, "co_num_heads is 3, expected a divisor of co_hidden_size, 8"),
        ({"text_co_layers": (1, 2, 3)}, "are 3 and 2, expected pairs"),
        ({"text_co_layers": (3, 2)}, "expected whole numbers that ascend within 0 to 4"),
        ({"visual_co_layers": (0, 3)}, "expected whole numbers that ascend within 0 to 2"),
        ({"visual_co_layers": (0, 1.5)}, r"visual_co_layers are \(0, 1.5\), expected whole numbers"),
        ({"text_num_heads": "2"}, "text_num_heads is '2', expected a divisor"),
        ({"dropout": 1.5}, "dropout is 1.5, expected a number from 0 to 1"),
        ({"dropout": float("nan")}, "dropout is nan, expected a number from 0 to 1"),
        ({"initializer_range": "0.02"}, "initializer_range is '0.02', expected a number from 0 to inf"),
    ],
)
def test_sizes_that_do_not_fit_are_named(two_stream_config, changed, message):
    with pytest.raises(ValueError, match=message):
        two_stream_config(**changed)
