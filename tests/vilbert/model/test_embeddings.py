import pytest
import torch

from vilbert.model.embeddings import TextEmbeddings, VisualEmbeddings


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
