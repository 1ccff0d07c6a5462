"""Small models: every size another prime where the architecture lets it."""

from vilbert.model.configuration_vilbert import VilbertConfig, VilbertSingleStreamConfig


def make_two_stream(**changed) -> VilbertConfig:
    sizes = {
        "vocab_size": 53,
        "max_position_embeddings": 23,
        "text_hidden_size": 12,
        "text_num_layers": 4,
        "text_num_heads": 3,
        "text_intermediate_size": 19,
        "visual_feature_size": 17,
        "visual_num_classes": 7,
        "visual_hidden_size": 10,
        "visual_num_layers": 2,
        "visual_num_heads": 5,
        "visual_intermediate_size": 11,
        "co_hidden_size": 8,
        "co_num_heads": 2,
        "text_co_layers": (2, 3),
        "visual_co_layers": (0, 1),
        "answer_hidden_size": 29,
        "num_labels": 31,
    }
    return VilbertConfig(**(sizes | changed))


def make_single_stream(**changed) -> VilbertSingleStreamConfig:
    sizes = {
        "vocab_size": 53,
        "max_position_embeddings": 23,
        "text_hidden_size": 12,
        "text_num_layers": 2,
        "text_num_heads": 3,
        "text_intermediate_size": 19,
        "visual_feature_size": 17,
        "visual_num_classes": 7,
        "answer_hidden_size": 29,
        "num_labels": 31,
    }
    return VilbertSingleStreamConfig(**(sizes | changed))
