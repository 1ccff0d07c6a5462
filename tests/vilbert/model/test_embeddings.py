import pytest
import torch
import torch.nn.functional as F
from small_configs import make_two_stream

from vilbert.model.embeddings import TextEmbeddings, VisualEmbeddings
from vilbert.model.modeling_vilbert import VilbertModel

WIDTH = 96
HERE, RIGHT, UP = ([x, y, x + 0.15, y + 0.15, 0.0225] for x, y in ((0.55, 0.3), (0.75, 0.3), (0.55, 0.1)))


def test_embeddings_are_dropped_in_training_alone(two_stream_config):
    config, ids = two_stream_config(dropout=1.0), torch.ones(3, 13, dtype=torch.long)
    text, visual = TextEmbeddings(config), VisualEmbeddings(config, width=10)
    for is_training in (True, False):
        text.train(is_training)
        visual.train(is_training)
        for embedded in (text(ids, ids, None), visual(torch.randn(3, 11, 17), torch.rand(3, 11, 5))):
            assert (embedded == 0).all() == is_training


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
def test_features_and_boxes_of_any_type_are_taken(two_stream_config, dtype):
    """Stores hold float16."""
    visual = VisualEmbeddings(two_stream_config(), width=10)
    features, boxes = torch.full((3, 11, 17), 2, dtype=dtype), torch.ones(3, 11, 5, dtype=dtype)
    torch.testing.assert_close(visual.eval()(features, boxes), visual(features.float(), boxes.float()))


def embeddings(norm: str) -> VisualEmbeddings:
    """New ones, of a model."""
    torch.manual_seed(3)
    config = make_two_stream(visual_hidden_size=WIDTH, visual_num_heads=4, visual_embedding_norm=norm)
    return VilbertModel(config).visual_embeddings.eval()


@torch.no_grad()
def test_feature_and_place_are_summed_then_normalised_as_in_the_paper():
    layer = embeddings("joint")
    features, boxes = torch.randn(2, 3, layer.feature.in_features), torch.rand(2, 3, 5)
    expected = F.layer_norm(layer.feature(features) + layer.box(boxes), (WIDTH,), eps=1e-12)
    torch.testing.assert_close(layer(features, boxes), expected)
    assert layer.box_norm is None


@torch.no_grad()
def test_apart_a_feature_says_as_much_however_large_it_is():
    layer = embeddings("apart")
    features, boxes = torch.randn(2, 3, layer.feature.in_features), torch.rand(2, 3, 5)
    parts = layer.feature(features), layer.box(boxes - 0.5)
    expected = sum(F.layer_norm(part, (WIDTH,), eps=1e-12) for part in parts)
    torch.testing.assert_close(layer(features, boxes), expected)
    torch.testing.assert_close(layer(100 * features, boxes), expected)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["joint", "apart"])
def test_a_step_to_the_right_is_another_than_one_up_and_is_seen_where_places_are_normalised_apart(norm):
    layer = embeddings(norm)
    feature = torch.full((1, 1, layer.feature.in_features), 3.0)
    here, right, up = (layer(feature, torch.tensor([[box]]))[0, 0] for box in (HERE, RIGHT, UP))
    assert abs(F.cosine_similarity(right - here, up - here, dim=0)) < 0.5
    is_seen = (right - here).norm() > 0.2 * WIDTH**0.5
    assert is_seen == (norm == "apart")


def test_another_norm_is_refused():
    with pytest.raises(ValueError, match="visual_embedding_norm is 'both', expected one of joint, apart"):
        make_two_stream(visual_embedding_norm="both")
